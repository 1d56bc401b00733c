// AaronNet's training step in one pass over memory a layer, for processors.
//
// Activations lie as (frame, position, channel). Every function reads the raw output of the layer
// before (what batch norm gets), normalises and quantizes it on the fly, and writes its own raw
// output together with its channels' sums: batch norm then costs no pass of its own. Backwards the
// same: what the next batch norm's statistics pass down is affine in the raw output, alpha + beta x,
// and is added while the gradient is read. Numbers are those of training/twin.py up to rounding.
//
// A position's channels are padded to whole vectors, in memory too: a row is read and written without
// a rest. What lies in the padding is finite, and nothing depends on it. Products are register tiles,
// as many sums as the processor has registers for. Sums over frames are kept per thread and added in
// a fixed order.

#include <algorithm>
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

// The same for M rows and N columns, in strips of as many rows as the registers hold sums of.
template <int N>
inline void multiply(const float* a, long sm, long sk, int count, const float* b, long ldb, float* c,
                     long ldc, const float* start = nullptr) {
  constexpr int NV = N / V, R = 8 * NV <= SUMS ? 8 : 4 * NV <= SUMS ? 4 : 2;
  static_assert(R * NV <= SUMS && M % R == 0, "sums would not fit the registers");
  for (int m = 0; m < M; m += R)
    tile<R, NV>(a + m * sm, sm, sk, count, b, ldb, c + m * ldc, ldc, start);
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
};

// The whole gradient of raw outputs, to = grad + alpha + beta * out, and its sum over the rows
template <int W>
inline void whole_gradient(const float* grad, const float* out, int rows, const Local<W>& alpha,
                           const Local<W>& beta, float* to, double* sums, int channels) {
  vec sum[W / V] = {};
  for (int r = 0; r < rows; r++)
    for (int v = 0; v < W / V; v++) {
      const int c = r * W + v * V;
      const vec g = at(grad + c) + at(alpha.x + v * V) + at(beta.x + v * V) * at(out + c);
      sum[v] += g;
      at(to + c) = g;
    }
  for (int c = 0; c < channels; c++) sums[c] += sum[c / V][c % V];
}

// Adds the threads' sums in their order, so that the same run gives the same bits.
void reduce(const std::vector<std::vector<double>>& parts, double* to, size_t count) {
  for (size_t i = 0; i < count; i++) {
    double total = 0;
    for (const auto& part : parts) total += part[i];
    to[i] = total;
  }
}

template <int W>
inline void add_statistics(const float* rows, int count, int channels, double* sums) {
  vec sum[W / V] = {}, square[W / V] = {};
  for (int r = 0; r < count; r++)
    for (int v = 0; v < W / V; v++) {
      const vec x = at(rows + r * W + v * V);
      sum[v] += x;
      square[v] += x * x;
    }
  for (int c = 0; c < channels; c++) {
    sums[c] += sum[c / V][c % V];
    sums[channels + c] += square[c / V][c % V];
  }
}

// The nearest whole number, of two the even one; |x| below 2^22
inline vec nearest(vec x) {
  const vec large = vec{} + 12582912.f;  // 1.5 * 2^23: the sum has no bits below one
  return (x + large) - large;
}
inline vec smaller(vec x, vec y) { return x < y ? x : y; }
inline vec larger(vec x, vec y) { return x > y ? x : y; }

// Whole steps from low to top; without steps floating point.
template <int C>
struct Levels {
  const bool quantized;
  const float low, top;
  Local<C> step, inverse;
  Levels(const float* step_, int channels, float low, float top)
      : quantized(step_ != nullptr), low(low), top(top), step(step_, channels, 1.f),
        inverse(step_, channels, 1.f) {
    for (float& x : inverse.x) x = 1.f / x;
  }
  // In steps, and at most one level beyond the last ones: enough to see that it lies outside.
  vec ratio(vec x, int c) const {
    x *= at(inverse.x + c);
    return quantized ? larger(smaller(x, vec{} + (top + 1.f)), vec{} + (low - 1.f)) : x;
  }
  vec level(vec ratio) const { return larger(smaller(nearest(ratio), vec{} + top), vec{} + low); }
  vec operator()(vec x, int c) const {
    return quantized ? level(ratio(x, c)) * at(step.x + c) : x;
  }
};

// relu and quantization of rows of raw values
template <int W>
inline void activate(const float* raw, int rows, const Local<W>& gain, const Local<W>& shift,
                     const Levels<W>& levels, float* to) {
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < W; c += V)
      at(to + r * W + c) = levels(larger(at(raw + r * W + c) * at(gain.x + c) + at(shift.x + c), vec{}), c);
  for (int c = rows * W; c < ROWS * W; c += V) at(to + c) = vec{};
}

template <int CI, int CO>
void pointwise_forward(const float* raw, long rows, int ci, int co, const float* gain_,
                       const float* shift_, const float* step_, float top, const float* weight,
                       const float* bias_, float* out, double* sums, int threads) {
  const auto bias = pad(bias_, 1, co, CO);
  std::vector<float> transposed((size_t)ci * CO, 0.f);
  for (int o = 0; o < co; o++)
    for (int c = 0; c < ci; c++) transposed[(size_t)c * CO + o] = weight[(size_t)o * ci + c];
  const long tiles = (rows + ROWS - 1) / ROWS;
  std::vector<std::vector<double>> parts(threads, std::vector<double>(2 * co, 0.));
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int thread = 0; thread < threads; thread++) {
    const Local<CI> gain(gain_, ci), shift(shift_, ci);
    const Levels<CI> levels(step_, ci, 0.f, top);
    alignas(64) float h[ROWS * CI], u[ROWS * CO];
    for (long tile = tiles * thread / threads; tile < tiles * (thread + 1) / threads; tile++) {
      const long first = tile * ROWS;
      const int count = (int)std::min<long>(ROWS, rows - first);
      float* to = count == ROWS ? out + first * CO : u;
      activate<CI>(raw + first * CI, count, gain, shift, levels, h);
      for (int r = 0; r < ROWS; r += M)
        multiply<CO>(h + r * CI, CI, 1, ci, transposed.data(), CO, to + r * CO, CO, bias.data());
      if (to == u) std::memcpy(out + first * CO, u, (size_t)count * CO * 4);
      add_statistics<CO>(to, count, co, parts[thread].data());
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
  const auto wide_weight = pad(weight, co, ci, CI);
  const long tiles = (rows + ROWS - 1) / ROWS;
  const size_t total = (size_t)co * ci + co + 3 * ci;
  std::vector<std::vector<double>> parts(threads, std::vector<double>(total, 0.));
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int thread = 0; thread < threads; thread++) {
    const Local<CI> gain(gain_, ci), shift(shift_, ci);
    const Levels<CI> levels(step_, ci, 0.f, top);
    const Local<CO> alpha(alpha_, co), beta(beta_, co);
    alignas(64) float h[ROWS * CI], g[ROWS * CO] = {0}, gh[ROWS * CI];
    const float none[CI] = {0};
    std::vector<float> gw((size_t)CO * CI, 0.f);
    double* part = parts[thread].data();
    double* rest = part + (size_t)co * ci + co;
    const long begin = tiles * thread / threads, end = tiles * (thread + 1) / threads;
    for (long tile = begin; tile < end; tile++) {
      const long first = tile * ROWS;
      const int count = (int)std::min<long>(ROWS, rows - first);
      whole_gradient<CO>(grad + first * CO, out + first * CO, count, alpha, beta, g,
                         part + (size_t)co * ci, co);
      if (count < ROWS) std::memset(g + count * CO, 0, (size_t)(ROWS - count) * CO * 4);
      activate<CI>(raw + first * CI, count, gain, shift, levels, h);
      for (int o = 0; o < CO; o += M)
        multiply<CI>(g + o, 1, CO, ROWS, h, CI, gw.data() + o * CI, CI);
      for (int r = 0; r < ROWS; r += M)
        multiply<CI>(g + r * CO, CO, 1, co, wide_weight.data(), CI, gh + r * CI, CI, none);
      for (int c = 0; c < CI; c += V) {
        const vec k = at(gain.x + c), s = at(shift.x + c), zero = {};
        vec ggain = {}, gshift = {}, gstep = {};
        for (int r = 0; r < count; r++) {
          const vec x = at(raw + first * CI + r * CI + c), gy = at(gh + r * CI + c);
          const vec q = levels.ratio(larger(x * k + s, zero), c);
          vec gp = q > 0.f ? gy : zero;
          if (levels.quantized) {
            const vec l = nearest(q);
            const auto within = l <= levels.top;
            gp = within ? gp : zero;
            gstep += gy * (within ? l - q : zero + levels.top);
          }
          ggain += gp * x;
          gshift += gp;
          at(grad_raw + first * CI + r * CI + c) = gp * k;
        }
        for (int i = 0; i < V && c + i < ci; i++) {
          rest[c + i] += ggain[i];
          rest[ci + c + i] += gshift[i];
          rest[2 * ci + c + i] += gstep[i];
        }
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
      window(frames + n * 2 * LENGTH, x);
      for (int i = 0; i < TILED; i += M) {
        float* to = &u[(size_t)i * CO];
        const float* taps = transposed.data();
        multiply<CO>(x[0] + STRIDE * i, STRIDE, 1, TAPS, taps, CO, to, CO, bias.data());
        multiply<CO>(x[1] + STRIDE * i, STRIDE, 1, TAPS, taps + TAPS * CO, CO, to, CO);
      }
      std::memcpy(out + n * POSITIONS * CO, u.data(), (size_t)POSITIONS * CO * 4);
      add_statistics<CO>(u.data(), POSITIONS, co, parts[thread].data());
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
      window(frames + n * 2 * LENGTH, x);
      const long row = n * POSITIONS * CO;
      whole_gradient<CO>(grad + row, out + row, POSITIONS, alpha, beta, g.data(),
                         part + (size_t)co * 2 * TAPS, co);
      for (int k = 0; k < 2 * TAPS; k += M) {
        multiply<CO>(x[k / TAPS] + k % TAPS, 1, STRIDE, POSITIONS, g.data(), CO, &gw[(size_t)k * CO], CO);
      }
      if ((n - begin) % 16 == 15 || n == end - 1) {
        for (int o = 0; o < co; o++)
          for (int k = 0; k < 2 * TAPS; k++) part[(size_t)o * 2 * TAPS + k] += gw[(size_t)k * CO + o];
        std::fill(gw.begin(), gw.end(), 0.f);
      }
    }
  }
  reduce(parts, grads, total);
}

// One frame, normalised, pooled and quantized, with a zero position at both ends:
// p (length / by + 2, C). Quantizing keeps the order, so that the largest can be found before.
template <int C>
void pool(const float* raw, int positions, int by, const Local<C>& gain, const Local<C>& shift,
          const Levels<C>& levels, float* p) {
  for (int c = 0; c < C; c += V) at(p + c) = at(p + (size_t)(positions + 1) * C + c) = vec{};
  for (int i = 0; i < positions; i++) {
    const float *first = raw + (size_t)i * by * C, *last = first + (size_t)(by - 1) * C;
    for (int c = 0; c < C; c += V) {
      const vec k = at(gain.x + c), s = at(shift.x + c);
      at(p + (size_t)(i + 1) * C + c) = levels(larger(at(first + c) * k + s, at(last + c) * k + s), c);
    }
  }
}

template <int C>
void depthwise_forward(const float* raw, long batch, int length, int channels, int by,
                       const float* gain_, const float* shift_, const float* step_, float low,
                       float top, const float* weight, const float* bias_, float* out, double* sums,
                       int threads) {
  const int positions = length / by;
  std::vector<std::vector<double>> parts(threads, std::vector<double>(2 * channels, 0.));
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int thread = 0; thread < threads; thread++) {
    const Local<C> gain(gain_, channels), shift(shift_, channels), bias(bias_, channels);
    const Levels<C> levels(step_, channels, low, top);
    const Local<C> w0(weight, channels), w1(weight + channels, channels);
    const Local<C> w2(weight + 2 * channels, channels);
    std::vector<float> p((size_t)(positions + 2) * C);
    for (long n = batch * thread / threads; n < batch * (thread + 1) / threads; n++) {
      pool<C>(raw + n * length * C, positions, by, gain, shift, levels, p.data());
      float* to = out + n * positions * C;
      for (int i = 0; i < positions; i++) {
        const float* q = &p[(size_t)i * C];
        for (int c = 0; c < C; c += V)
          at(to + i * C + c) = at(bias.x + c) + at(w0.x + c) * at(q + c) +
                               at(w1.x + c) * at(q + C + c) + at(w2.x + c) * at(q + 2 * C + c);
      }
      add_statistics<C>(to, positions, channels, parts[thread].data());
    }
  }
  reduce(parts, sums, 2 * channels);
}

// grads: weight (3, channels), bias, gain, shift, step
template <int C>
void depthwise_backward(const float* raw, const float* out, const float* grad, long batch,
                        int length, int channels, int by, const float* gain_, const float* shift_,
                        const float* step_, float low, float top, const float* weight,
                        const float* alpha_, const float* beta_, float* grad_raw, double* grads,
                        int threads) {
  const int positions = length / by;
  std::vector<std::vector<double>> parts(threads, std::vector<double>(7 * channels, 0.));
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int thread = 0; thread < threads; thread++) {
    const Local<C> gain(gain_, channels), shift(shift_, channels);
    const Levels<C> levels(step_, channels, low, top);
    const Local<C> alpha(alpha_, channels), beta(beta_, channels);
    const Local<C> w0(weight, channels), w1(weight + channels, channels);
    const Local<C> w2(weight + 2 * channels, channels);
    std::vector<float> p((size_t)(positions + 2) * C), g((size_t)(positions + 2) * C, 0.f);
    double* part = parts[thread].data();
    for (long n = batch * thread / threads; n < batch * (thread + 1) / threads; n++) {
      const float* frame = raw + n * length * C;
      float* to = grad_raw + n * length * C;
      const long row = n * positions * C;
      pool<C>(frame, positions, by, gain, shift, levels, p.data());
      whole_gradient<C>(grad + row, out + row, positions, alpha, beta, &g[C], part + 3 * channels,
                        channels);
      for (int c = 0; c < C; c += V) {
        const vec k = at(gain.x + c), s = at(shift.x + c), zero = {};
        const vec a0 = at(w0.x + c), a1 = at(w1.x + c), a2 = at(w2.x + c);
        vec gw0 = {}, gw1 = {}, gw2 = {}, ggain = {}, gshift = {}, gstep = {};
        for (int i = 0; i < positions; i++) {
          const float *q = &p[(size_t)i * C + c], *y = &g[(size_t)i * C + c];
          gw0 += at(y + C) * at(q);
          gw1 += at(y + C) * at(q + C);
          gw2 += at(y + C) * at(q + 2 * C);
          const vec gq = a0 * at(y + 2 * C) + a1 * at(y + C) + a2 * at(y);
          const float *first = frame + (size_t)i * by * C + c, *last = first + (size_t)(by - 1) * C;
          const vec a = at(first), b = at(last), na = a * k + s, nb = b * k + s;
          const auto takes = nb > na;
          vec gp = gq;
          if (levels.quantized) {
            const vec ratio = levels.ratio(takes ? nb : na, c), l = nearest(ratio);
            const auto above = l > levels.top, below = l < levels.low;
            gp = above | below ? zero : gq;
            gstep += gq * (above ? zero + levels.top : below ? zero + levels.low : l - ratio);
          }
          ggain += gp * (takes ? b : a);
          gshift += gp;
          float* here = to + (size_t)i * by * C + c;
          at(here + (size_t)(by - 1) * C) = takes ? gp * k : zero;
          at(here) = takes ? zero : gp * k;  // alone where nothing is pooled
        }
        for (int i = 0; i < V && c + i < channels; i++) {
          const vec sums[] = {gw0, gw1, gw2, zero, ggain, gshift, gstep};
          for (int j = 0; j < 7; j++) part[j * channels + c + i] += sums[j][i];
        }
      }
      if (positions * by < length)  // the pooling leaves an odd last position out
        std::memset(to + (size_t)positions * by * C, 0, (size_t)(length - positions * by) * C * 4);
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

// Floats that a position of so many channels takes in memory
int width(int channels) { return padded(channels); }

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
