// Drives DMAs and what is between them: registers over AXI4-Lite as a program would, memory over
// AXI4, every rule checked on every clock. `ports.h` (generated, see verilate.py) names the model
// class and lists its signals. A command a line comes from a file and is answered by a line "= ...":
//
//   write BUS OFFSET VALUE         read BUS OFFSET            -> value
//   poll BUS MASK CLOCKS           read control until a bit of MASK is set -> value, or "timeout"
//                                  after so many clocks in which nothing moved
//   run CLOCKS                     quiet CLOCKS               until no transaction is open, or "timeout"
//   room ADDRESS SIZE              memory is here             empty   forget all memory and faults
//   load ADDRESS FILE              save ADDRESS SIZE FILE
//   fault r|w ADDRESS SIZE RESP    heal
//   pace LEAST MOST CHANCE LONGEST latency in clocks, pauses in 1/1024
//   breach KIND                    make the memory break a rule
//   arrivals STREAM FILE           clocks of its words (uint64)
//   reset                          the wire; clock -> clocks so far; report -> JSON
//
// Numbers are decimal or 0x. Command line: --commands FILE [--seed N].
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
static int since_reset = 0;  // clocks in which a stream may fall silent

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
    std::string text = "{\"cycles\": " + std::to_string(cycle) + ", \"seconds\": " + std::to_string(seconds) +
                       ", \"rules\": [";
    for (int i = 0; i < RULES; i++) {
        if (i) text += ", ";
        text += std::string("{\"name\": \"") + RULE_TEXTS[i].name + "\", \"where\": \"" + RULE_TEXTS[i].where +
                "\", \"text\": \"" + RULE_TEXTS[i].text + "\", \"violations\": " +
                std::to_string(found.counts[i]) + ", \"first\": \"" + found.first[i] + "\"}";
    }
    return text + "]}";
}

int main(int argc, char** argv) {
    uint64_t seed = 1;
    std::ifstream commands;
    for (int i = 1; i + 1 < argc; i++)
        if (!strcmp(argv[i], "--seed")) seed = strtoull(argv[i + 1], nullptr, 10);
        else if (!strcmp(argv[i], "--commands")) commands.open(argv[i + 1]);
    if (!commands) { fprintf(stderr, "no commands\n"); return 3; }
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
    reset();

    const auto began = std::chrono::steady_clock::now();
    for (std::string line; std::getline(commands, line);) {
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
    }
    top->final();
    top.reset();  // before its context
    return 0;
}
