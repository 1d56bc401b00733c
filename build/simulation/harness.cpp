// Drives a verilated design through its AXI streams. `ports.h` (generated, see verilate.py) names
// the model class and lists its streams; everything else comes from the command line:
//
//   simulation [--seed N] [--limit CYCLES] [--idle CYCLES] [--drain CYCLES] [--wave FILE]
//              [--source NAME FILE STALL BURST] [--sink NAME FILE WORDS STALL BURST]
//              [--tap NAME FILE WORDS] [--watch]
//
// Sources read packed words from FILE, sinks and taps write them. STALL is the chance in 1/1024
// that a side pauses after a clock cycle, BURST the longest pause. Facts go to stdout as JSON.
// Data files that the design itself reads are looked up in the working directory.
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "verilated.h"
#include "ports.h"
#ifdef WAVES
#include "verilated_vcd_c.h"
#endif

struct Stream {  // one row of ports.h
    const char* name;
    size_t bytes;
    void* data;
    CData* valid;
    CData* ready;
};

struct Value {  // a number read at the end (a FIFO's high-water mark)
    const char* name;
    IData* value;
};

static uint64_t random_state;
static uint32_t random32() {  // xorshift64*
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return static_cast<uint32_t>((random_state * 0x2545F4914F6CDD1DULL) >> 32);
}

struct Pauses {  // random pauses of a source or a sink
    uint32_t chance = 0, longest = 1, left = 0;
    bool paused() {
        if (left) return left-- > 0;
        if (chance && (random32() & 1023) < chance) left = random32() % longest;
        else return false;
        return true;
    }
};

struct End {  // a stream with what happens at it
    Stream stream;
    std::string file;
    std::vector<uint8_t> bytes;
    std::vector<uint64_t> cycles;  // sinks: when each word arrived
    uint64_t words = 0;            // sources: how many to send; sinks and taps: how many to expect
    uint64_t done = 0;
    uint64_t first = 0, last = 0;
    uint64_t blocked = 0, starved = 0;  // valid without ready, ready without valid
    Pauses pauses;
    bool held = false;  // sinks: a word was offered and not taken
    std::vector<uint8_t> offer;
};

static std::vector<uint8_t> read_file(const std::string& name) {
    FILE* file = fopen(name.c_str(), "rb");
    if (!file) { fprintf(stderr, "cannot read %s\n", name.c_str()); exit(3); }
    std::vector<uint8_t> bytes;
    uint8_t buffer[1 << 16];
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, file)) > 0;)
        bytes.insert(bytes.end(), buffer, buffer + n);
    fclose(file);
    return bytes;
}

static void write_file(const std::string& name, const void* bytes, size_t size) {
    FILE* file = fopen(name.c_str(), "wb");
    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file)) {
        fprintf(stderr, "cannot write %s: %s\n", name.c_str(), strerror(errno));
        exit(3);
    }
}

int main(int argc, char** argv) {
    std::vector<Stream> streams;
    std::vector<Value> values;
    uint64_t seed = 1, limit = UINT64_MAX, idle = 100000, drain = 0;
    std::string wave;
    bool watch = false;

    // The seed also randomizes the initial state, so it must be known before the model exists.
    for (int i = 1; i + 1 < argc; i++)
        if (!strcmp(argv[i], "--seed")) seed = strtoull(argv[i + 1], nullptr, 10);
    random_state = seed * 0x9E3779B97F4A7C15ULL + 1;
    const std::string rand_seed = "+verilator+seed+" + std::to_string(1 + seed % 2147483646);
    const char* model_args[] = {argv[0], "+verilator+rand+reset+2", rand_seed.c_str()};

    auto context = std::make_unique<VerilatedContext>();
    context->commandArgs(3, model_args);
#ifdef WAVES
    context->traceEverOn(true);
#endif
    auto top = std::make_unique<MODEL>(context.get());
    bind_ports(*top, streams, values);

    std::vector<End> sources, sinks, taps;
    auto find = [&](const char* name) -> Stream {
        for (auto& stream : streams)
            if (!strcmp(stream.name, name)) return stream;
        fprintf(stderr, "the design has no stream %s\n", name);
        exit(3);
    };
    for (int i = 1; i < argc; i++) {
        const std::string option = argv[i];
        auto text = [&]() -> const char* {
            if (++i >= argc) { fprintf(stderr, "%s wants more\n", option.c_str()); exit(3); }
            return argv[i];
        };
        auto number = [&]() { return strtoull(text(), nullptr, 10); };
        if (option == "--seed") number();
        else if (option == "--limit") limit = number();
        else if (option == "--idle") idle = number();
        else if (option == "--drain") drain = number();
        else if (option == "--wave") wave = text();
        else if (option == "--watch") watch = true;
        else if (option == "--source" || option == "--sink" || option == "--tap") {
            End end;
            end.stream = find(text());
            end.file = text();
            if (option == "--source") {
                end.bytes = read_file(end.file);
                end.words = end.bytes.size() / end.stream.bytes;
            } else end.words = number();
            if (option != "--tap") {
                end.pauses.chance = number();
                end.pauses.longest = number();
            }
            (option == "--source" ? sources : option == "--sink" ? sinks : taps).push_back(end);
        } else { fprintf(stderr, "unknown option %s\n", option.c_str()); exit(3); }
    }
    std::vector<End> watched;
    if (watch)
        for (auto& stream : streams) {
            End end;
            end.stream = stream;
            watched.push_back(end);
        }

#ifdef WAVES
    std::unique_ptr<VerilatedVcdC> trace;
    if (!wave.empty()) {
        trace = std::make_unique<VerilatedVcdC>();
        top->trace(trace.get(), 99);
        trace->open(wave.c_str());
    }
#endif
    auto eval = [&](int clock) {
        top->ap_clk = clock;
        top->eval();
#ifdef WAVES
        if (trace) trace->dump(context->time());
        context->timeInc(1);
#endif
    };

    for (auto& end : sources) *end.stream.valid = 0;
    for (auto& end : sinks) *end.stream.ready = 0;
    top->ap_rst_n = 0;
    for (int i = 0; i < 16; i++) { eval(0); eval(1); }
    top->ap_rst_n = 1;

    const auto began = std::chrono::steady_clock::now();
    uint64_t cycle = 0, moved = 0, complete = UINT64_MAX;
    std::string failure;
    while (!context->gotFinish()) {
        for (auto& end : sources) {
            CData& valid = *end.stream.valid;
            if (!valid && end.done < end.words && !end.pauses.paused()) {
                valid = 1;
                memcpy(end.stream.data, &end.bytes[end.done * end.stream.bytes], end.stream.bytes);
            }
        }
        for (auto& end : sinks) *end.stream.ready = !end.pauses.paused();
        eval(0);

        for (auto& end : taps)
            if (*end.stream.valid && *end.stream.ready && end.done < end.words) {
                auto* data = static_cast<uint8_t*>(end.stream.data);
                end.bytes.insert(end.bytes.end(), data, data + end.stream.bytes);
                end.done++;
            }
        for (auto& end : watched) {
            const bool valid = *end.stream.valid, ready = *end.stream.ready;
            if (valid && ready) {
                if (!end.done++) end.first = cycle;
                end.last = cycle;
            }
            end.blocked += valid && !ready;
            end.starved += ready && !valid;
        }
        for (auto& end : sinks) {
            auto* data = static_cast<uint8_t*>(end.stream.data);
            if (end.held && (!*end.stream.valid || memcmp(&end.offer[0], data, end.stream.bytes)))
                failure = std::string(end.stream.name) + " changed a word before it was taken";
            end.held = *end.stream.valid && !*end.stream.ready;
            if (*end.stream.valid) end.offer.assign(data, data + end.stream.bytes);
            if (*end.stream.valid && *end.stream.ready) {
                if (end.done == end.words)
                    failure = std::string(end.stream.name) + " sent more words than expected";
                end.bytes.insert(end.bytes.end(), data, data + end.stream.bytes);
                end.cycles.push_back(cycle);
                end.done++;
                moved = cycle;
            }
        }
        std::vector<End*> taken;
        for (auto& end : sources)
            if (*end.stream.valid && *end.stream.ready) taken.push_back(&end);
        eval(1);
        for (auto* end : taken) {
            *end->stream.valid = 0;
            end->done++;
            moved = cycle;
        }
        cycle++;

        if (!failure.empty()) break;
        if (complete == UINT64_MAX) {
            bool all = true;
            for (auto& end : sinks) all = all && end.done >= end.words;
            if (all) complete = cycle;
        }
        if (complete != UINT64_MAX && cycle >= complete + drain) break;
        if (cycle - moved > idle) { failure = "no word moved for " + std::to_string(idle) + " cycles"; break; }
        if (cycle >= limit) { failure = "not done after " + std::to_string(limit) + " cycles"; break; }
    }
    if (complete == UINT64_MAX && failure.empty()) failure = "the design called $finish";
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    top->final();
#ifdef WAVES
    if (trace) trace->close();
#endif

    for (auto& end : sinks) {
        write_file(end.file, end.bytes.data(), end.bytes.size());
        write_file(end.file + ".cycles", end.cycles.data(), end.cycles.size() * sizeof(uint64_t));
    }
    for (auto& end : taps) write_file(end.file, end.bytes.data(), end.bytes.size());
    printf("{\"cycles\": %llu, \"seconds\": %.6f, \"failure\": \"%s\",\n \"words\": {",
           (unsigned long long)cycle, seconds, failure.c_str());
    const char* comma = "";
    for (auto* list : {&sources, &sinks})
        for (auto& end : *list) {
            printf("%s\"%s\": %llu", comma, end.stream.name, (unsigned long long)end.done);
            comma = ", ";
        }
    printf("},\n \"values\": {");
    comma = "";
    for (auto& value : values) {
        printf("%s\"%s\": %u", comma, value.name, *value.value);
        comma = ", ";
    }
    printf("},\n \"watched\": {");
    comma = "";
    for (auto& end : watched) {
        printf("%s\n  \"%s\": {\"words\": %llu, \"first\": %llu, \"last\": %llu, "
               "\"blocked\": %llu, \"starved\": %llu}",
               comma, end.stream.name, (unsigned long long)end.done, (unsigned long long)end.first,
               (unsigned long long)end.last, (unsigned long long)end.blocked,
               (unsigned long long)end.starved);
        comma = ",";
    }
    printf("}}\n");
    return 0;
}
