// AaronNet's training step in one pass over memory a layer, for processors.
//
// Activations lie as (frame, position, channel). Every function reads the raw output of the layer
// before (what batch norm gets), normalises and quantizes it on the fly, and writes its own raw
// output together with its channels' sums: batch norm then costs no pass of its own. Backwards the
// same: what the next batch norm's statistics pass down is affine in the raw output, alpha + beta x,
// and is added while the gradient is read. Numbers are those of training/twin.py up to rounding.
//
// Products are register tiles, as many sums as the processor has registers for; channel counts are
// padded to whole vectors in local tiles only. Sums over frames are kept per thread and added in a
// fixed order.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include <omp.h>

namespace {

// A wider vector than the processor's lies in memory, and every sum goes through it.
#ifdef __AVX512F__
constexpr int V = 16;     // floats of a vector
constexpr int SUMS = 24;  // vectors of sums in registers, of 32
#else
constexpr int V = 8;
constexpr int SUMS = 12;  // of 16
#endif
typedef float vec __attribute__((vector_size(4 * V), aligned(4)));

constexpr int M = 8;      // rows of a block of products
constexpr int ROWS = 64;  // rows of a cache tile
constexpr int TAPS = 32, STRIDE = 4, POSITIONS = 257, LENGTH = 1024, PADDING = 16;
constexpr int TILED = (POSITIONS + M - 1) / M * M;

inline const vec& at(const float* x) { return *(const vec*)x; }
inline vec& at(float* x) { return *(vec*)x; }

int padded(int channels) { return (channels + V - 1) / V * V; }

// c[m * ldc + n] = start + sum over k of a[m * sm + k * sk] * b[k * ldb + n], for R rows and NV
// vectors of columns; what the sums start from is c itself, or the row `start` for every m.
template <int R, int NV>
inline void tile(const float* a, long sm, long sk, int count, const float* b, long ldb, float* c,
                 long ldc, const float* start) {
  vec sum[R][NV];
  for (int m = 0; m < R; m++)
    for (int v = 0; v < NV; v++) sum[m][v] = at((start ? start : c + m * ldc) + V * v);
  for (int k = 0; k < count; k++) {
    vec row[NV];
    for (int v = 0; v < NV; v++) row[v] = at(b + k * ldb + V * v);
    for (int m = 0; m < R; m++) {
      const float x = a[m * sm + k * sk];
      for (int v = 0; v < NV; v++) sum[m][v] += x * row[v];
    }
  }
  for (int m = 0; m < R; m++)
    for (int v = 0; v < NV; v++) at(c + m * ldc + V * v) = sum[m][v];
}

// The same for M rows and N columns, in tiles that fit the registers.
template <int N>
inline void multiply(const float* a, long sm, long sk, int count, const float* b, long ldb, float* c,
                     long ldc, const float* start = nullptr) {
  constexpr int R = 4, WIDE = SUMS / R;  // 4 rows by 3 (or 6) vectors: as many sums as registers
  constexpr int WHOLE = N / V / WIDE, REST = N / V % WIDE;
  for (int m = 0; m < M; m += R) {
    for (int v = 0; v < WHOLE; v++)
      tile<R, WIDE>(a + m * sm, sm, sk, count, b + v * WIDE * V, ldb, c + m * ldc + v * WIDE * V, ldc,
                    start ? start + v * WIDE * V : nullptr);
    if constexpr (REST > 0)
      tile<R, REST>(a + m * sm, sm, sk, count, b + WHOLE * WIDE * V, ldb, c + m * ldc + WHOLE * WIDE * V,
                    ldc, start ? start + WHOLE * WIDE * V : nullptr);
  }
}

std::vector<float> pad(const float* from, int rows, int columns, int wide) {
  std::vector<float> to((size_t)rows * wide, 0.f);
  for (int r = 0; r < rows; r++) std::memcpy(&to[(size_t)r * wide], from + (size_t)r * columns, columns * 4);
  return to;
}

// A thread's own copy of a row of parameters: the compiler then knows that no store changes it.
template <int W>
struct Local {
  alignas(64) float x[W];
  Local(const float* from, int count, float rest = 0.f) {
    for (int c = 0; c < W; c++) x[c] = from && c < count ? from[c] : rest;
  }
  float operator[](int c) const { return x[c]; }
};

// The whole gradient of a raw output: to = grad + alpha + beta * out
template <int W>
inline void whole_gradient(const float* grad, const float* out, int count, const Local<W>& alpha,
                           const Local<W>& beta, float* to) {
  alignas(64) float g[W] = {0}, u[W] = {0};
  std::memcpy(g, grad, count * 4);
  std::memcpy(u, out, count * 4);
  for (int c = 0; c < W; c++) g[c] += alpha[c] + beta[c] * u[c];
  std::memcpy(to, g, W * 4);
}

// Adds the threads' sums in their order, so that the same run gives the same bits.
void reduce(const std::vector<std::vector<double>>& parts, double* to, size_t count) {
  for (size_t i = 0; i < count; i++) {
    double total = 0;
    for (const auto& part : parts) total += part[i];
    to[i] = total;
  }
}

void add_statistics(const float* tile, int rows, int channels, int wide, double* sums) {
  float sum[64] = {0}, square[64] = {0};
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < wide; c++) {
      const float x = tile[r * wide + c];
      sum[c] += x;
      square[c] += x * x;
    }
  for (int c = 0; c < channels; c++) {
    sums[c] += sum[c];
    sums[channels + c] += square[c];
  }
}

// relu and quantization of a tile of raw values
template <int WIDE>
inline void activate(const float* raw, int rows, int channels, const Local<WIDE>& gain,
                     const Local<WIDE>& shift, const Local<WIDE>& step, const Local<WIDE>& inverse,
                     float top, bool quantized, float* to) {
  for (int r = 0; r < rows; r++) {
    alignas(64) float x[WIDE] = {0};
    std::memcpy(x, raw + (size_t)r * channels, channels * 4);
    for (int c = 0; c < WIDE; c++) x[c] = std::max(x[c] * gain[c] + shift[c], 0.f);
    if (quantized)
      for (int c = 0; c < WIDE; c++)
        x[c] = std::min(std::nearbyint(x[c] * inverse[c]), top) * step[c];
    std::memcpy(to + r * WIDE, x, sizeof x);
  }
  for (int r = rows; r < ROWS; r++) std::memset(to + r * WIDE, 0, WIDE * 4);
}

template <int CI, int CO>
void pointwise_forward(const float* raw, long rows, int ci, int co, const float* gain_,
                       const float* shift_, const float* step_, float top, const float* weight,
                       const float* bias_, float* out, double* sums, int threads) {
  const bool quantized = step_ != nullptr;
  const auto bias = pad(bias_, 1, co, CO);
  std::vector<float> transposed((size_t)ci * CO, 0.f);
  for (int o = 0; o < co; o++)
    for (int c = 0; c < ci; c++) transposed[(size_t)c * CO + o] = weight[(size_t)o * ci + c];
  const long tiles = (rows + ROWS - 1) / ROWS;
  std::vector<std::vector<double>> parts(threads, std::vector<double>(2 * co, 0.));
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int thread = 0; thread < threads; thread++) {
    const Local<CI> gain(gain_, ci), shift(shift_, ci), step(step_, ci, 1.f);
    Local<CI> inverse(step_, ci, 1.f);
    for (float& x : inverse.x) x = 1.f / x;
    alignas(64) float h[ROWS * CI], u[ROWS * CO];
    for (long tile = tiles * thread / threads; tile < tiles * (thread + 1) / threads; tile++) {
      const long first = tile * ROWS;
      const int count = (int)std::min<long>(ROWS, rows - first);
      activate<CI>(raw + first * ci, count, ci, gain, shift, step, inverse, top, quantized, h);
      for (int r = 0; r < ROWS; r += M) {
        multiply<CO>(h + r * CI, CI, 1, ci, transposed.data(), CO, u + r * CO, CO, bias.data());
      }
      for (int r = 0; r < count; r++) std::memcpy(out + (first + r) * co, u + r * CO, co * 4);
      add_statistics(u, count, co, CO, parts[thread].data());
    }
  }
  reduce(parts, sums, 2 * co);
}

// grads: weight (co, ci), bias (co), gain (ci), shift (ci), step (ci)
template <int CI, int CO>
void pointwise_backward(const float* raw, const float* out, const float* grad, long rows, int ci,
                        int co, const float* gain_, const float* shift_, const float* step_,
                        float top, const float* weight, const float* alpha_, const float* beta_,
                        float* grad_raw, double* grads, int threads) {
  const bool quantized = step_ != nullptr;
  const auto wide_weight = pad(weight, co, ci, CI);
  const long tiles = (rows + ROWS - 1) / ROWS;
  const size_t total = (size_t)co * ci + co + 3 * ci;
  std::vector<std::vector<double>> parts(threads, std::vector<double>(total, 0.));
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int thread = 0; thread < threads; thread++) {
    const Local<CI> gain(gain_, ci), shift(shift_, ci), step(step_, ci, 1.f);
    Local<CI> inverse(step_, ci, 1.f);
    for (float& x : inverse.x) x = 1.f / x;
    const Local<CO> alpha(alpha_, co), beta(beta_, co);
    alignas(64) float h[ROWS * CI], g[ROWS * CO], gh[ROWS * CI];
    const float none[CI] = {0};
    std::vector<float> gw((size_t)CO * CI, 0.f);
    double* part = parts[thread].data();
    const long begin = tiles * thread / threads, end = tiles * (thread + 1) / threads;
    for (long tile = begin; tile < end; tile++) {
      const long first = tile * ROWS;
      const int count = (int)std::min<long>(ROWS, rows - first);
      std::memset(g, 0, sizeof g);
      float gb[CO] = {0};
      for (int r = 0; r < count; r++) {
        const long row = (first + r) * co;
        whole_gradient<CO>(grad + row, out + row, co, alpha, beta, g + r * CO);
        for (int o = 0; o < CO; o++) gb[o] += g[r * CO + o];
      }
      activate<CI>(raw + first * ci, count, ci, gain, shift, step, inverse, top, quantized, h);
      for (int o = 0; o < CO; o += M) {
        multiply<CI>(g + o, 1, CO, ROWS, h, CI, gw.data() + o * CI, CI);
      }
      for (int r = 0; r < ROWS; r += M) {
        multiply<CI>(g + r * CO, CO, 1, co, wide_weight.data(), CI, gh + r * CI, CI, none);
      }
      alignas(64) float ggain[CI] = {0}, gshift[CI] = {0}, gstep[CI] = {0};
      // A level above all others stands for none.
      const float bound = quantized ? top : 1e30f;
      for (int r = 0; r < count; r++) {
        alignas(64) float x[CI] = {0}, gx[CI], ratio[CI], level[CI];
        std::memcpy(x, raw + (first + r) * ci, ci * 4);
        for (int c = 0; c < CI; c++)
          ratio[c] = std::max(x[c] * gain[c] + shift[c], 0.f) * inverse[c];
        for (int c = 0; c < CI; c++) level[c] = std::nearbyint(ratio[c]);
        for (int c = 0; c < CI; c += V) {
          const vec q = at(ratio + c), l = at(level + c), gy = at(gh + r * CI + c);
          const vec gp = (q > 0.f) & (l <= bound) ? gy : gy * 0.f;
          at(gstep + c) += gy * (l > bound ? gy * 0.f + bound : l - q);
          at(ggain + c) += gp * at(x + c);
          at(gshift + c) += gp;
          at(gx + c) = gp * at(gain.x + c);
        }
        std::memcpy(grad_raw + (first + r) * ci, gx, ci * 4);
      }
      for (int o = 0; o < co; o++) part[(size_t)co * ci + o] += gb[o];
      double* rest = part + (size_t)co * ci + co;
      for (int c = 0; c < ci; c++) {
        rest[c] += ggain[c];
        rest[ci + c] += gshift[c];
        rest[2 * ci + c] += gstep[c];
      }
      if ((tile - begin) % 64 == 63 || tile == end - 1) {  // floats lose digits in long sums
        for (int o = 0; o < co; o++)
          for (int c = 0; c < ci; c++) part[(size_t)o * ci + c] += gw[(size_t)o * CI + c];
        std::fill(gw.begin(), gw.end(), 0.f);
      }
    }
  }
  reduce(parts, grads, total);
}

template <int C>
void window(const float* frame, float (&x)[2][LENGTH + 2 * PADDING + 64]) {
  std::memset(x, 0, sizeof x);
  for (int q = 0; q < 2; q++) std::memcpy(x[q] + PADDING, frame + q * LENGTH, LENGTH * 4);
}

template <int CO>
void stem_forward(const float* frames, long batch, int co, const float* weight, const float* bias_,
                  float* out, double* sums, int threads) {
  const auto bias = pad(bias_, 1, co, CO);
  std::vector<float> transposed((size_t)2 * TAPS * CO, 0.f);
  for (int o = 0; o < co; o++)
    for (int k = 0; k < 2 * TAPS; k++) transposed[(size_t)k * CO + o] = weight[(size_t)o * 2 * TAPS + k];
  std::vector<std::vector<double>> parts(threads, std::vector<double>(2 * co, 0.));
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int thread = 0; thread < threads; thread++) {
    alignas(64) float x[2][LENGTH + 2 * PADDING + 64];
    std::vector<float> u((size_t)TILED * CO);
    for (long n = batch * thread / threads; n < batch * (thread + 1) / threads; n++) {
      window<CO>(frames + n * 2 * LENGTH, x);
      for (int i = 0; i < TILED; i += M) {
        float* to = &u[(size_t)i * CO];
        const float* taps = transposed.data();
        multiply<CO>(x[0] + STRIDE * i, STRIDE, 1, TAPS, taps, CO, to, CO, bias.data());
        multiply<CO>(x[1] + STRIDE * i, STRIDE, 1, TAPS, taps + TAPS * CO, CO, to, CO);
      }
      for (int i = 0; i < POSITIONS; i++)
        std::memcpy(out + (n * POSITIONS + i) * co, &u[(size_t)i * CO], co * 4);
      add_statistics(u.data(), POSITIONS, co, CO, parts[thread].data());
    }
  }
  reduce(parts, sums, 2 * co);
}

// grads: weight (co, 2, 32), bias (co)
template <int CO>
void stem_backward(const float* frames, const float* out, const float* grad, long batch, int co,
                   const float* alpha_, const float* beta_, double* grads, int threads) {
  const size_t total = (size_t)co * 2 * TAPS + co;
  std::vector<std::vector<double>> parts(threads, std::vector<double>(total, 0.));
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int thread = 0; thread < threads; thread++) {
    alignas(64) float x[2][LENGTH + 2 * PADDING + 64];
    const Local<CO> alpha(alpha_, co), beta(beta_, co);
    std::vector<float> g((size_t)TILED * CO, 0.f), gw((size_t)2 * TAPS * CO, 0.f);
    double* part = parts[thread].data();
    const long begin = batch * thread / threads, end = batch * (thread + 1) / threads;
    for (long n = begin; n < end; n++) {
      window<CO>(frames + n * 2 * LENGTH, x);
      float gb[CO] = {0};
      for (int i = 0; i < POSITIONS; i++) {
        const long row = (n * POSITIONS + i) * co;
        float* y = &g[(size_t)i * CO];
        whole_gradient<CO>(grad + row, out + row, co, alpha, beta, y);
        for (int o = 0; o < CO; o++) gb[o] += y[o];
      }
      for (int k = 0; k < 2 * TAPS; k += M) {
        multiply<CO>(x[k / TAPS] + k % TAPS, 1, STRIDE, POSITIONS, g.data(), CO, &gw[(size_t)k * CO], CO);
      }
      for (int o = 0; o < co; o++) part[(size_t)co * 2 * TAPS + o] += gb[o];
      if ((n - begin) % 16 == 15 || n == end - 1) {
        for (int o = 0; o < co; o++)
          for (int k = 0; k < 2 * TAPS; k++) part[(size_t)o * 2 * TAPS + k] += gw[(size_t)k * CO + o];
        std::fill(gw.begin(), gw.end(), 0.f);
      }
    }
  }
  reduce(parts, grads, total);
}

// A position's two normalised candidates for the pooling; without pooling they are one.
template <int C>
struct Pair {
  alignas(64) float first[C] = {0}, last[C] = {0};
  Pair(const float* raw, int channels, int by) {
    std::memcpy(first, raw, channels * 4);
    std::memcpy(last, raw + (size_t)(by - 1) * channels, channels * 4);
  }
};

// Whole steps between low and top of them; without steps floating point.
template <int C>
struct Signed {
  const bool quantized;
  const float low, top;
  Local<C> step, inverse;
  Signed(const float* step_, int channels, float low, float top)
      : quantized(step_ != nullptr), low(low), top(top), step(step_, channels, 1.f),
        inverse(step_, channels, 1.f) {
    for (float& x : inverse.x) x = 1.f / x;
  }
};

// One frame, normalised, pooled and quantized, with a zero position at both ends:
// p (length / by + 2, C). Quantizing keeps the order, so that the largest can be found before.
template <int C>
void pool(const float* raw, int length, int channels, int by, const Local<C>& gain,
          const Local<C>& shift, const Signed<C>& levels, float* p) {
  const int positions = length / by;
  std::memset(p, 0, C * 4);
  std::memset(p + (size_t)(positions + 1) * C, 0, C * 4);
  for (int i = 0; i < positions; i++) {
    const Pair<C> x(raw + (size_t)i * by * channels, channels, by);
    alignas(64) float y[C];
    for (int c = 0; c < C; c++)
      y[c] = std::max(x.first[c] * gain[c] + shift[c], x.last[c] * gain[c] + shift[c]);
    if (levels.quantized)
      for (int c = 0; c < C; c++)
        y[c] = std::min(std::max(std::nearbyint(y[c] * levels.inverse[c]), levels.low), levels.top) *
               levels.step[c];
    std::memcpy(p + (size_t)(i + 1) * C, y, sizeof y);
  }
}

template <int C>
void depthwise_forward(const float* raw, long batch, int length, int channels, int by,
                       const float* gain_, const float* shift_, const float* step_, float low,
                       float top, const float* weight, const float* bias_, float* out, double* sums, int threads) {
  const int positions = length / by;
  std::vector<std::vector<double>> parts(threads, std::vector<double>(2 * channels, 0.));
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int thread = 0; thread < threads; thread++) {
    const Local<C> gain(gain_, channels), shift(shift_, channels), bias(bias_, channels);
    const Signed<C> levels(step_, channels, low, top);
    const Local<C> w0(weight, channels), w1(weight + channels, channels);
    const Local<C> w2(weight + 2 * channels, channels);
    std::vector<float> p((size_t)(positions + 2) * C), z((size_t)positions * C);
    for (long n = batch * thread / threads; n < batch * (thread + 1) / threads; n++) {
      pool<C>(raw + n * length * channels, length, channels, by, gain, shift, levels, p.data());
      for (int i = 0; i < positions; i++) {
        const float* q = &p[(size_t)i * C];
        alignas(64) float y[C];
        for (int c = 0; c < C; c++)
          y[c] = bias[c] + w0[c] * q[c] + w1[c] * q[C + c] + w2[c] * q[2 * C + c];
        std::memcpy(&z[(size_t)i * C], y, sizeof y);
        std::memcpy(out + (n * positions + i) * channels, y, channels * 4);
      }
      add_statistics(z.data(), positions, channels, C, parts[thread].data());
    }
  }
  reduce(parts, sums, 2 * channels);
}

// grads: weight (3, channels), bias, gain, shift, step
template <int C>
void depthwise_backward(const float* raw, const float* out, const float* grad, long batch,
                        int length, int channels, int by, const float* gain_, const float* shift_,
                        const float* step_, float low, float top, const float* weight, const float* alpha_, const float* beta_,
                        float* grad_raw, double* grads, int threads) {
  const int positions = length / by;
  std::vector<std::vector<double>> parts(threads, std::vector<double>(7 * channels, 0.));
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int thread = 0; thread < threads; thread++) {
    const Local<C> gain(gain_, channels), shift(shift_, channels);
    const Signed<C> levels(step_, channels, low, top);
    // Levels beyond all others stand for none.
    const float least = levels.quantized ? low : -1e30f, most = levels.quantized ? top : 1e30f;
    const Local<C> alpha(alpha_, channels), beta(beta_, channels);
    const Local<C> w0(weight, channels), w1(weight + channels, channels);
    const Local<C> w2(weight + 2 * channels, channels);
    std::vector<float> p((size_t)(positions + 2) * C), g((size_t)(positions + 2) * C, 0.f);
    double* part = parts[thread].data();
    for (long n = batch * thread / threads; n < batch * (thread + 1) / threads; n++) {
      const float* frame = raw + n * length * channels;
      float* to = grad_raw + n * length * channels;
      pool<C>(frame, length, channels, by, gain, shift, levels, p.data());
      alignas(64) float sums[7][C] = {{0}};
      for (int i = 0; i < positions; i++) {
        const long row = (n * positions + i) * channels;
        float* y = &g[(size_t)(i + 1) * C];
        whole_gradient<C>(grad + row, out + row, channels, alpha, beta, y);
        const float* q = &p[(size_t)i * C];
        for (int c = 0; c < C; c++) {
          sums[0][c] += y[c] * q[c];
          sums[1][c] += y[c] * q[C + c];
          sums[2][c] += y[c] * q[2 * C + c];
          sums[3][c] += y[c];
        }
      }
      for (int i = 0; i < positions; i++) {
        const float* y = &g[(size_t)i * C];
        const Pair<C> x(frame + (size_t)i * by * channels, channels, by);
        alignas(64) float to_first[C], to_last[C], ratio[C], level[C];
        for (int c = 0; c < C; c++)
          ratio[c] = std::max(x.first[c] * gain[c] + shift[c], x.last[c] * gain[c] + shift[c]) *
                     levels.inverse[c];
        for (int c = 0; c < C; c++) level[c] = std::nearbyint(ratio[c]);
        for (int c = 0; c < C; c += V) {
          const vec a = at(x.first + c), b = at(x.last + c), k = at(gain.x + c), s = at(shift.x + c);
          const vec q = at(ratio + c), l = at(level + c);
          const vec gq = at(w0.x + c) * at(y + 2 * C + c) + at(w1.x + c) * at(y + C + c) +
                         at(w2.x + c) * at(y + c);
          const vec none = gq * 0.f;
          const vec gp = (l >= least) & (l <= most) ? gq : none;
          at(sums[6] + c) += gq * (l > most ? none + most : l < least ? none + least : l - q);
          const auto takes = b * k + s > a * k + s;
          at(sums[4] + c) += gp * (takes ? b : a);
          at(sums[5] + c) += gp;
          at(to_last + c) = takes ? gp * k : none;
          at(to_first + c) = takes ? none : gp * k;
        }
        float* here = to + (size_t)i * by * channels;
        std::memcpy(here + (size_t)(by - 1) * channels, to_last, channels * 4);
        std::memcpy(here, to_first, channels * 4);  // alone where nothing is pooled
      }
      if (positions * by < length)  // the pooling leaves an odd last position out
        std::memset(to + (size_t)positions * by * channels, 0,
                    (size_t)(length - positions * by) * channels * 4);
      for (int s = 0; s < 7; s++)
        for (int c = 0; c < channels; c++) part[s * channels + c] += sums[s][c];
    }
  }
  reduce(parts, grads, 7 * channels);
}

}  // namespace

#define WIDTH(name, count, call) case count: { constexpr int name = count; call; break; }
#ifdef __AVX512F__
#define WIDTHS(name, call) WIDTH(name, 16, call) WIDTH(name, 32, call) WIDTH(name, 48, call)
#else
#define WIDTHS(name, call)                                                      \
  WIDTH(name, 8, call) WIDTH(name, 16, call) WIDTH(name, 24, call)              \
  WIDTH(name, 32, call) WIDTH(name, 40, call) WIDTH(name, 48, call)
#endif
#define BY_WIDTH(width, call) switch (padded(width)) { WIDTHS(W, call) }
#define BY_WIDTHS(call) switch (padded(ci)) { WIDTHS(I, switch (padded(co)) { WIDTHS(W, call) }) }

extern "C" {

void stem_fwd(const float* frames, long batch, int co, const float* weight, const float* bias,
              float* out, double* sums, int threads) {
  BY_WIDTH(co, stem_forward<W>(frames, batch, co, weight, bias, out, sums, threads))
}

void stem_bwd(const float* frames, const float* out, const float* grad, long batch, int co,
              const float* alpha, const float* beta, double* grads, int threads) {
  BY_WIDTH(co, stem_backward<W>(frames, out, grad, batch, co, alpha, beta, grads, threads))
}

void pointwise_fwd(const float* raw, long rows, int ci, int co, const float* gain,
                   const float* shift, const float* step, float top, const float* weight,
                   const float* bias, float* out, double* sums, int threads) {
  BY_WIDTHS((pointwise_forward<I, W>(raw, rows, ci, co, gain, shift, step, top, weight, bias, out, sums, threads)))
}

void pointwise_bwd(const float* raw, const float* out, const float* grad, long rows, int ci, int co,
                   const float* gain, const float* shift, const float* step, float top,
                   const float* weight, const float* alpha, const float* beta, float* grad_raw,
                   double* grads, int threads) {
  BY_WIDTHS((pointwise_backward<I, W>(raw, out, grad, rows, ci, co, gain, shift, step, top, weight, alpha, beta, grad_raw, grads, threads)))
}

void depthwise_fwd(const float* raw, long batch, int length, int channels, int by,
                   const float* gain, const float* shift, const float* step, float low, float top,
                   const float* weight, const float* bias, float* out, double* sums, int threads) {
  BY_WIDTH(channels, depthwise_forward<W>(raw, batch, length, channels, by, gain, shift, step, low, top, weight, bias, out, sums, threads))
}

void depthwise_bwd(const float* raw, const float* out, const float* grad, long batch, int length,
                   int channels, int by, const float* gain, const float* shift, const float* step,
                   float low, float top, const float* weight, const float* alpha, const float* beta,
                   float* grad_raw, double* grads, int threads) {
  BY_WIDTH(channels, depthwise_backward<W>(raw, out, grad, batch, length, channels, by, gain, shift, step, low, top, weight, alpha, beta, grad_raw, grads, threads))
}

}
