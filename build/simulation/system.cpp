// Drives DMAs and what is between them: registers over AXI4-Lite as a program would, memory over
// AXI4, every rule checked on every clock. `ports.h` (generated, see verilate.py) names the model
// class and lists its signals. A command a line comes from a file and is answered by a line "= ...":
//
//   write BUS OFFSET VALUE         read BUS OFFSET            -> value
//   poll BUS MASK CLOCKS           read control until a bit of MASK is set -> value, or "timeout"
//                                  after so many clocks in which nothing moved
//   reach BUS OFFSET VALUE CLOCKS  the same of a counter (modulo 2^32) until it is VALUE or more
//   run CLOCKS                     quiet CLOCKS               until no transaction is open, or "timeout"
//   room ADDRESS SIZE              memory is here             empty   forget all memory and faults
//   load ADDRESS FILE              save ADDRESS SIZE FILE
//   fault r|w ADDRESS SIZE RESP    heal
//   pace LEAST MOST CHANCE LONGEST latency in clocks, pauses in 1/1024
//   breach KIND                    make the memory break a rule
//   arrivals STREAM FILE           clocks of its words (uint64)
//   reset                          the wire; clock -> clocks so far; report -> JSON
//
// With --serve commands come from stdin, and between them the clock runs while a DMA is busy and words
// move: what a program does next does not depend on when it asks. Then there are also
//
//   rooms ADDRESS SIZE ...         memory is here and nowhere else
//   watch STREAM WORDS             of a frame, where results leave the accelerator
//   await BUS OFFSET MILLISECONDS  run until both DMAs are idle, so long at most; then read -> value
//   state                          -> which DMAs are busy, bit by bit; 1 if all are and nothing moves
//   transfer                       the last one -> frames, clocks, clocks to the first result in
//                                  memory, 256 * clocks from frame to frame; frames of all; rules
//                                  violated so far
//
// Numbers are decimal or 0x. Command line: --commands FILE | --serve [--seed N]
// [--memory FD OFFSET ADDRESS SIZE]...: memory that others have too.
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>

#include "verilated.h"
#include "axi_memory.h"
#include "ports.h"

struct Stream { const char* name; size_t bytes; void* data; CData* valid; CData* ready; };
struct Value { const char* name; IData* value; };

static std::unique_ptr<MODEL> top;
static std::vector<Bus> buses;
static std::vector<Channel> streams;
static std::vector<std::vector<uint64_t>> arrivals;
static std::vector<MemoryPort> ports;
static Memory memory;
static Violations found;
static uint64_t cycle = 0, moved = 0;  // now; when a word went through a stream or a memory's port
static const IData* streams_reset = nullptr;
static const IData* dmas_busy = nullptr;  // a bit a DMA
static uint32_t all_dmas = 0;
static int since_reset = 0;  // clocks in which a stream may fall silent

struct Transfer {  // from when all DMAs are busy until none is
    bool running = false;
    uint64_t began = 0, replied = 0;
    uint64_t frames = 0, clocks = 0, latency = 0, interval = 0;  // of the last that ended
    uint64_t all_frames = 0;

    void follow(const std::vector<uint64_t>& ends, uint64_t words, bool reply) {
        if (running && reply && !replied) replied = cycle;
        if (running && *streams_reset) running = false;
        if (running && !*dmas_busy) {
            running = false;
            clocks = cycle - began;
            latency = replied ? replied - began : clocks;
            frames = ends.size() / words;
            all_frames += frames;
            auto end = [&](uint64_t frame) { return ends[words * (frame + 1) - 1]; };
            // The first interval still fills the pipeline.
            interval = 256 * clocks;
            if (frames == 2) interval = 256 * (end(1) - end(0));
            if (frames > 2) interval = 256 * (end(frames - 1) - end(1)) / (frames - 2);
        }
    }
};
static Transfer transfer;
static size_t results = 0;  // the stream that is watched
static uint64_t result_words = 0;

static void follow_transfer() {
    const bool all = *dmas_busy == all_dmas;
    if (all && !transfer.running && !*streams_reset) {
        transfer.running = true;
        transfer.began = moved = cycle;
        transfer.replied = 0;
        for (auto& one : arrivals) one.clear();
    }
    bool reply = false;
    for (auto& bus : buses) reply = reply || (!bus.lite && bus.b.fired);
    transfer.follow(arrivals[results], result_words, reply);
}

static void step() {
    for (auto& port : ports) port.drive(cycle);
    top->ap_clk = 0;
    top->eval();
    found.cycle = cycle;
    // A reset of the DMAs silences the streams.
    if (*streams_reset) since_reset = 2;
    for (auto& bus : buses) {
        bus.check(found, true);
        if (!bus.lite && (bus.ar.fired || bus.r.fired || bus.aw.fired || bus.w.fired || bus.b.fired))
            moved = cycle;
    }
    for (size_t i = 0; i < streams.size(); i++) {
        streams[i].check(found, !since_reset);
        if (streams[i].fired) {
            arrivals[i].push_back(cycle);
            moved = cycle;
        }
    }
    since_reset -= since_reset > 0;
    if (result_words) follow_transfer();
    for (auto& port : ports) port.sample(cycle);
    top->ap_clk = 1;
    top->eval();
    cycle++;
}

static void reset() {
    for (auto& bus : buses) {
        for (auto field : {ARVALID, AWVALID, WVALID, RREADY, BREADY})
            if (bus.lite) bus.signals[field].set(0);
        Bus fresh;
        fresh.name = bus.name;
        std::copy(std::begin(bus.signals), std::end(bus.signals), fresh.signals);
        fresh.bind();
        bus = fresh;
    }
    for (auto& port : ports) port.reset();
    top->ap_rst_n = 0;
    for (int i = 0; i < 16; i++) {
        top->ap_clk = 0; top->eval();
        found.cycle = cycle;
        if (i > 0) for (auto& bus : buses) bus.in_reset(found);
        top->ap_clk = 1; top->eval();
        cycle++;
    }
    top->ap_rst_n = 1;
    top->ap_clk = 0; top->eval();
    for (auto& bus : buses) bus.in_reset(found);
    since_reset = 2;
}

static Bus& bus_named(const std::string& name) {
    for (auto& bus : buses)
        if (bus.name == name) return bus;
    fprintf(stderr, "the design has no bus %s\n", name.c_str());
    exit(3);
}

static uint64_t number(std::istream& from) {
    std::string text;
    from >> text;
    return strtoull(text.c_str(), nullptr, 0);
}

// A register's answer takes a few clocks; a slave that gives none is stuck.
static constexpr int PATIENCE = 10000;

static bool lite_read(Bus& bus, uint64_t offset, uint32_t& value) {
    bus.signals[ARADDR].set(offset);
    bus.signals[ARVALID].set(1);
    bool done = false;
    for (int i = 0; i < PATIENCE && !done; i++) {
        bus.signals[RREADY].set(random32() & 1);
        step();
        if (bus.ar.fired) bus.signals[ARVALID].set(0);
        done = bus.r.fired;
    }
    value = uint32_t(bus.taken);
    bus.signals[ARVALID].set(0);
    bus.signals[RREADY].set(0);
    return done;
}

static bool lite_write(Bus& bus, uint64_t offset, uint32_t value) {
    bus.signals[AWADDR].set(offset);
    bus.signals[WDATA].set(value);
    bus.signals[WSTRB].set(15);
    bool address = false, data = false, done = false;
    for (int i = 0; i < PATIENCE && !done; i++) {
        // Address and data in any order; a side that has offered goes on offering.
        if (!address && !bus.aw.waits) bus.signals[AWVALID].set(random32() & 1);
        if (!data && !bus.w.waits) bus.signals[WVALID].set(random32() & 1);
        bus.signals[BREADY].set(random32() & 1);
        step();
        if (bus.aw.fired) { address = true; bus.signals[AWVALID].set(0); }
        if (bus.w.fired) { data = true; bus.signals[WVALID].set(0); }
        done = bus.b.fired;
    }
    for (auto field : {AWVALID, WVALID, BREADY}) bus.signals[field].set(0);
    return done;
}

static std::string json_report(double seconds) {
    uint64_t interleaved = 0, overtaken = 0;
    for (auto& bus : buses) { interleaved += bus.interleaved; overtaken += bus.overtaken; }
    std::string text = "{\"cycles\": " + std::to_string(cycle) + ", \"seconds\": " + std::to_string(seconds) +
                       ", \"interleaved\": " + std::to_string(interleaved) +
                       ", \"overtaken\": " + std::to_string(overtaken) + ", \"rules\": [";
    for (int i = 0; i < RULES; i++) {
        if (i) text += ", ";
        text += std::string("{\"name\": \"") + RULE_TEXTS[i].name + "\", \"where\": \"" + RULE_TEXTS[i].where +
                "\", \"text\": \"" + RULE_TEXTS[i].text + "\", \"violations\": " +
                std::to_string(found.counts[i]) + ", \"first\": \"" + found.first[i] + "\"}";
    }
    return text + "]}";
}

// Clocks without a word after which waiting is of no use: all DMAs are started, or not all.
static constexpr uint64_t STUCK = 1000000, ALONE = 20000;

static bool stuck() { return *dmas_busy == all_dmas && cycle >= moved + STUCK; }
static bool runs() {
    if (*streams_reset) return true;
    return *dmas_busy && cycle < moved + (*dmas_busy == all_dmas ? STUCK : ALONE);
}

static bool next_line(std::string& line) {  // from stdin; the clock runs while there is none
    static std::string kept;
    for (size_t end; (end = kept.find('\n')) == std::string::npos;) {
        pollfd waiting{0, POLLIN, 0};
        if (runs() && poll(&waiting, 1, 0) == 0) {
            for (int i = 0; i < 64 && runs(); i++) step();
            continue;
        }
        char buffer[4096];
        const ssize_t got = read(0, buffer, sizeof buffer);
        if (got <= 0) return false;
        kept.append(buffer, size_t(got));
    }
    const size_t end = kept.find('\n');
    line = kept.substr(0, end);
    kept.erase(0, end + 1);
    return true;
}

static bool share(char** words) {  // FD OFFSET ADDRESS SIZE
    uint64_t values[4];
    for (int i = 0; i < 4; i++) values[i] = strtoull(words[i], nullptr, 0);
    void* at = mmap(nullptr, values[3], PROT_READ | PROT_WRITE, MAP_SHARED, int(values[0]), off_t(values[1]));
    if (at == MAP_FAILED) return false;
    memory.shared.push_back({values[2], values[3], static_cast<uint8_t*>(at)});
    return true;
}

int main(int argc, char** argv) {
    uint64_t seed = 1;
    bool serve = false;
    std::ifstream commands;
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--serve")) serve = true;
        else if (!strcmp(argv[i], "--seed") && i + 1 < argc) seed = strtoull(argv[++i], nullptr, 10);
        else if (!strcmp(argv[i], "--commands") && i + 1 < argc) commands.open(argv[++i]);
        else if (!strcmp(argv[i], "--memory") && i + 4 < argc && share(argv + i + 1)) i += 4;
        else { fprintf(stderr, "%s is not understood\n", argv[i]); return 3; }
    if (!serve && !commands.is_open()) { fprintf(stderr, "no commands\n"); return 3; }
    random_state = seed * 0x9E3779B97F4A7C15ULL + 1;
    const std::string rand_seed = "+verilator+seed+" + std::to_string(1 + seed % 2147483646);
    const char* model_args[] = {argv[0], "+verilator+rand+reset+2", rand_seed.c_str()};
    auto* context = new VerilatedContext;  // outlives the model, also where we leave early
    context->commandArgs(3, model_args);
    top = std::make_unique<MODEL>(context);

    std::vector<Stream> wires;
    std::vector<Value> values;
    bind_ports(*top, wires, values);
    for (auto& value : values)
        if (!strcmp(value.name, "streams_reset")) streams_reset = value.value;
        else if (!strcmp(value.name, "dmas_busy")) dmas_busy = value.value;
    for (auto& wire : wires) {
        Channel channel;
        channel.name = wire.name;
        channel.stream = true;
        channel.valid = {wire.valid, 1};
        channel.ready = {wire.ready, 1};
        channel.payload = {{static_cast<uint8_t*>(wire.data), wire.bytes}};
        streams.push_back(channel);
    }
    arrivals.resize(streams.size());
    bind_buses(*top, buses);
    for (auto& bus : buses) bus.bind();
    for (auto& bus : buses)
        if (!bus.lite) ports.emplace_back(bus, memory);
        else all_dmas = all_dmas << 1 | 1;
    reset();

    const auto began = std::chrono::steady_clock::now();
    for (std::string line; serve ? next_line(line) : bool(std::getline(commands, line));) {
        std::istringstream words(line);
        std::string command, name, answer = "ok";
        words >> command;
        if (command == "write") {
            words >> name;
            const uint64_t offset = number(words), value = number(words);
            if (!lite_write(bus_named(name), offset, uint32_t(value))) answer = "stuck";
        } else if (command == "read") {
            words >> name;
            uint32_t value = 0;
            const bool done = lite_read(bus_named(name), number(words), value);
            answer = done ? std::to_string(value) : "stuck";
        } else if (command == "poll") {
            words >> name;
            const uint64_t mask = number(words), patience = number(words), began = cycle;
            answer = "timeout";
            while (cycle <= std::max(began, moved) + patience) {
                uint32_t value = 0;
                if (!lite_read(bus_named(name), 0, value)) { answer = "stuck"; break; }
                if (value & mask) { answer = std::to_string(value); break; }
                for (int i = 0; i < 8; i++) step();
            }
        } else if (command == "await") {
            words >> name;
            const uint64_t offset = number(words);
            const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(number(words));
            while (runs() && std::chrono::steady_clock::now() < until)
                for (int i = 0; i < 64 && runs(); i++) step();
            uint32_t value = 0;
            answer = lite_read(bus_named(name), offset, value) ? std::to_string(value) : "stuck";
        } else if (command == "state") {
            answer = std::to_string(*dmas_busy) + (stuck() ? " 1" : " 0");
        } else if (command == "rooms") {
            memory.rooms.clear();
            while (words >> std::ws && !words.eof()) {
                const uint64_t address = number(words), size = number(words);
                memory.rooms.push_back({address, size});
            }
        } else if (command == "watch") {
            words >> name;
            result_words = number(words);
            while (results < streams.size() && streams[results].name != name) results++;
            if (results == streams.size() || !result_words) {
                fprintf(stderr, "no stream %s\n", name.c_str());
                return 3;
            }
        } else if (command == "transfer") {
            uint64_t violations = 0;
            for (auto count : found.counts) violations += count;
            for (auto number : {transfer.frames, transfer.clocks, transfer.latency, transfer.interval,
                                transfer.all_frames})
                name += std::to_string(number) + " ";
            answer = name + std::to_string(violations);
        } else if (command == "reach") {
            words >> name;
            const uint64_t offset = number(words), wanted = number(words);
            const uint64_t patience = number(words), began = cycle;
            answer = "timeout";
            while (cycle <= std::max(began, moved) + patience) {
                uint32_t value = 0;
                if (!lite_read(bus_named(name), offset, value)) { answer = "stuck"; break; }
                if (int32_t(value - uint32_t(wanted)) >= 0) { answer = std::to_string(value); break; }
                for (int i = 0; i < 8; i++) step();
            }
        } else if (command == "run") {
            for (uint64_t left = number(words); left; left--) step();
        } else if (command == "quiet") {
            const uint64_t until = cycle + number(words);
            auto quiet = [] {
                for (auto& bus : buses) if (!bus.quiet()) return false;
                return true;
            };
            while (!quiet() && cycle < until) step();
            if (!quiet()) answer = "timeout";
        } else if (command == "room") {
            const uint64_t address = number(words), size = number(words);
            memory.rooms.push_back({address, size});
        } else if (command == "empty") {
            memory = Memory();
        } else if (command == "load") {
            uint64_t address = number(words);
            words >> name;
            FILE* file = fopen(name.c_str(), "rb");
            if (!file) { fprintf(stderr, "cannot read %s\n", name.c_str()); return 3; }
            for (int byte; (byte = fgetc(file)) != EOF;) memory.byte(address++) = uint8_t(byte);
            fclose(file);
        } else if (command == "save") {
            const uint64_t address = number(words), size = number(words);
            words >> name;
            std::vector<uint8_t> bytes(size);
            for (uint64_t i = 0; i < size; i++) bytes[i] = memory.byte(address + i);
            FILE* file = fopen(name.c_str(), "wb");
            if (!file || fwrite(bytes.data(), 1, size, file) != size || fclose(file)) {
                fprintf(stderr, "cannot write %s\n", name.c_str());
                return 3;
            }
        } else if (command == "fault") {
            words >> name;
            Range range;
            range.address = number(words);
            range.size = number(words);
            range.response = int(number(words));
            (name == "r" ? memory.read_faults : memory.write_faults).push_back(range);
        } else if (command == "heal") {
            memory.read_faults.clear();
            memory.write_faults.clear();
        } else if (command == "pace") {
            Pace pace;
            pace.least = uint32_t(number(words));
            pace.most = uint32_t(number(words));
            pace.chance = uint32_t(number(words));
            pace.longest = std::max(1u, uint32_t(number(words)));
            for (auto& port : ports) port.pace = pace;
        } else if (command == "breach") {
            const Breach breach = Breach(number(words));
            for (auto& port : ports) port.breach = breach;
        } else if (command == "arrivals") {
            words >> name;
            std::string file;
            words >> file;
            for (size_t i = 0; i < streams.size(); i++)
                if (streams[i].name == name) {
                    FILE* out = fopen(file.c_str(), "wb");
                    const size_t count = arrivals[i].size();
                    if (!out || fwrite(arrivals[i].data(), 8, count, out) != count || fclose(out)) {
                        fprintf(stderr, "cannot write %s\n", file.c_str());
                        return 3;
                    }
                }
        } else if (command == "reset") {
            reset();
        } else if (command == "clock") {
            answer = std::to_string(cycle);
        } else if (command == "report") {
            const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - began;
            answer = json_report(taken.count());
        } else {
            fprintf(stderr, "unknown command %s\n", line.c_str());
            return 3;
        }
        printf("\n= %s\n", answer.c_str());
        if (serve) fflush(stdout);
    }
    top->final();
    top.reset();  // before its context
    return 0;
}
