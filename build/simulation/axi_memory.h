// A memory behind AXI4: random latencies and pauses, responses of different ids out of order and
// read data of different ids mixed (IHI 0022E A5.3), bad responses where they were ordered.
// Addresses outside the memory's rooms answer DECERR, as an interconnect does.
#pragma once
#include <algorithm>
#include <unordered_map>
#include "axi_rules.h"

static uint64_t random_state = 1;
static uint32_t random32() {  // xorshift64*
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return static_cast<uint32_t>((random_state * 0x2545F4914F6CDD1DULL) >> 32);
}

struct Pace {  // clocks from an address to its response; chance of a pause in 1/1024 a clock
    uint32_t least = 20, most = 20, chance = 0, longest = 1;
    uint64_t latency() const { return least + (most > least ? random32() % (most - least + 1) : 0); }
};

struct Pause {
    uint32_t left = 0;
    bool now(const Pace& pace) {
        if (left) return left-- > 0;
        if (!pace.chance || (random32() & 1023) >= pace.chance) return false;
        left = random32() % pace.longest;
        return true;
    }
};

struct Range {
    uint64_t address, size;
    int response = 0;
    bool holds(uint64_t at) const { return at >= address && at - address < size; }
};

struct Shared { uint64_t address, size; uint8_t* at; };  // memory that another process has too

struct Memory {
    static constexpr uint64_t PAGE = 4096;
    std::vector<Shared> shared;
    std::unordered_map<uint64_t, std::vector<uint8_t>> pages;
    std::vector<Range> rooms, read_faults, write_faults;

    uint8_t& byte(uint64_t at) {
        for (auto& one : shared)
            if (at - one.address < one.size) return one.at[at - one.address];
        auto& page = pages[at / PAGE];
        if (page.empty()) page.resize(PAGE);
        return page[at % PAGE];
    }
    int response(uint64_t at, uint64_t size, bool reads) const {  // of a beat
        for (auto& fault : reads ? read_faults : write_faults)
            if (fault.address < at + size && at < fault.address + fault.size) return fault.response;
        for (auto& room : rooms)
            if (room.holds(at)) return 0;
        return 3;
    }
};

// What a broken memory does, for the tests of the rules.
enum Breach { B_NONE, B_LAST, B_EARLY_B, B_EARLY_R, B_ID, B_EXOKAY };

struct MemoryPort {
    Bus& bus;
    Memory& memory;
    Pace pace;
    Breach breach = B_NONE;
    struct Request { uint64_t id, address, beats, size, due; int response; };
    std::deque<Request> reads, writes, replies;
    struct Beat { std::vector<uint8_t> data, strobes; bool last; };
    std::deque<Beat> beats;  // that came before their address
    uint64_t beat = 0;
    Pause ar, r, aw, w, b;

    MemoryPort(Bus& bus, Memory& memory) : bus(bus), memory(memory) {}
    void reset() {
        reads.clear(); writes.clear(); replies.clear(); beats.clear();
        beat = 0;
        for (auto field : {RVALID, BVALID, ARREADY, AWREADY, WREADY}) bus.signals[field].set(0);
    }

    // The first of each id, if it is due; one of them by chance.
    static int choose(const std::deque<Request>& from, uint64_t cycle) {
        std::vector<int> can;
        std::vector<uint64_t> seen;
        for (size_t i = 0; i < from.size(); i++) {
            if (std::find(seen.begin(), seen.end(), from[i].id) != seen.end()) continue;
            seen.push_back(from[i].id);
            if (from[i].due <= cycle) can.push_back(int(i));
        }
        return can.empty() ? -1 : can[random32() % can.size()];
    }

    void drive(uint64_t cycle) {
        if (bus.ar.valid.at) {
            bus.ar.ready.set(!ar.now(pace) && reads.size() < 64);
            if (bus.r.fired || !bus.r.valid.get()) offer_read(cycle);
        }
        if (bus.aw.valid.at) {
            bus.aw.ready.set(!aw.now(pace) && writes.size() < 64);
            bus.w.ready.set(!w.now(pace) && beats.size() < 64);
            if (bus.b.fired || !bus.b.valid.get()) offer_reply(cycle);
        }
    }
    void offer_read(uint64_t cycle) {
        bus.r.valid.set(breach == B_EARLY_R && reads.empty());
        const int index = r.now(pace) ? -1 : choose(reads, cycle);
        if (index < 0) return;
        auto& request = reads[index];
        const int response = memory.response(request.address, request.size, true);
        const uint64_t lane = request.address % bus.bytes;
        uint8_t* data = bus.signals[RDATA].at;
        for (uint64_t i = 0; i < bus.bytes; i++) data[i] = uint8_t(random32());  // beside and bad: anything
        for (uint64_t i = 0; !response && lane + i < bus.bytes && i < request.size; i++)
            data[lane + i] = memory.byte(request.address + i);
        bus.signals[RRESP].set(breach == B_EXOKAY ? 1 : response);
        bus.signals[RID].set(breach == B_ID ? request.id + 1 : request.id);
        const bool last = !--request.beats;
        bus.signals[RLAST].set(breach == B_LAST ? !last : last);
        bus.r.valid.set(1);
        request.address += request.size;
        if (last) reads.erase(reads.begin() + index);
    }
    void offer_reply(uint64_t cycle) {
        bus.b.valid.set(0);
        if (breach == B_EARLY_B && !writes.empty()) {
            bus.b.valid.set(1);
            return;
        }
        const int index = b.now(pace) ? -1 : choose(replies, cycle);
        if (index < 0) return;
        bus.signals[BRESP].set(breach == B_EXOKAY ? 1 : replies[index].response);
        bus.signals[BID].set(breach == B_ID ? replies[index].id + 1 : replies[index].id);
        bus.b.valid.set(1);
        replies.erase(replies.begin() + index);
    }

    void sample(uint64_t cycle) {
        auto get = [&](Field field) { return bus.signals[field].get(); };
        if (bus.ar.fired)
            reads.push_back({get(ARID), get(ARADDR), get(ARLEN) + 1, 1ULL << get(ARSIZE),
                             cycle + pace.latency(), 0});
        if (bus.w.fired) {
            Signal data = bus.signals[WDATA], strobes = bus.signals[WSTRB];
            beats.push_back({{data.at, data.at + data.bytes}, {strobes.at, strobes.at + strobes.bytes},
                             get(WLAST) != 0});
        }
        if (bus.aw.fired)
            writes.push_back({get(AWID), get(AWADDR), get(AWLEN) + 1, 1ULL << get(AWSIZE), 0, 0});
        while (!writes.empty() && !beats.empty()) {
            auto& request = writes.front();
            auto& one = beats.front();
            const uint64_t base = request.address / bus.bytes * bus.bytes;
            const int response = memory.response(request.address, request.size, false);
            request.response = std::max(request.response, response);
            for (uint64_t lane = 0; !response && lane < bus.bytes; lane++)
                if (one.strobes[lane / 8] >> lane % 8 & 1) memory.byte(base + lane) = one.data[lane];
            request.address += request.size;
            if (one.last || !--request.beats) {
                request.due = cycle + pace.latency();
                replies.push_back(request);
                writes.pop_front();
            }
            beats.pop_front();
        }
    }
};
