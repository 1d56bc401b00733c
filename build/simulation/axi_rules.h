// AXI's handshake rules, checked on every clock of every channel. IHI 0022E is "AMBA AXI and ACE
// Protocol Specification", IHI 0051A "AMBA 4 AXI4-Stream Protocol". A simulation in two states
// cannot see X; that nothing depends on unknown values shows in the random initial state.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <map>
#include <string>
#include <vector>

struct Signal {  // of the model, up to 64 bits as a number, any width as bytes
    uint8_t* at = nullptr;
    size_t bytes = 0;
    uint64_t get() const {
        uint64_t value = 0;
        if (at) memcpy(&value, at, bytes < 8 ? bytes : 8);
        return value;
    }
    void set(uint64_t value) const {
        if (at) memcpy(at, &value, bytes < 8 ? bytes : 8);
    }
};

enum Rule {
    VALID_IN_RESET, VALID_HELD, PAYLOAD_STABLE, BURST_TYPE, BURST_SIZE, BURST_IN_4K, CACHE, WLAST_EARLY,
    WLAST_MISSING, STROBES, RLAST_PLACE, B_EARLY, R_EARLY, RESPONSE_ID, EXOKAY, TVALID_HELD, TDATA_STABLE, RULES
};

struct RuleText {
    const char *name, *where, *text;
};
static const RuleText RULE_TEXTS[RULES] = {
    {"valid_in_reset", "IHI 0022E A3.1.2", "VALID is low in reset and in the first clock after it"},
    {"valid_held", "IHI 0022E A3.2.1", "VALID stays until READY"},
    {"payload_stable", "IHI 0022E A3.2.1", "what goes with VALID stays until READY"},
    {"burst_type", "IHI 0022E A3.4.1", "the burst's type is INCR: 3 is reserved, FIXED and WRAP are not used here"},
    {"burst_size", "IHI 0022E A3.4.1", "a beat is no wider than the bus"},
    {"burst_in_4k", "IHI 0022E A3.4.1", "a burst crosses no 4 KiB boundary"},
    {"cache", "IHI 0022E A4.4", "AxCACHE is none of the reserved values"},
    {"wlast_early", "IHI 0022E A3.2.2, A3.4.1", "WLAST comes with no beat before the last"},
    {"wlast_missing", "IHI 0022E A3.2.2, A3.4.1", "WLAST comes with the last beat, AWLEN + 1 in all"},
    {"strobes", "IHI 0022E A3.4.3", "WSTRB names no lane outside the beat"},
    {"rlast", "IHI 0022E A3.2.2, A3.4.1", "RLAST comes with the last beat and no other, ARLEN + 1 in all"},
    {"b_early", "IHI 0022E A3.3.1", "BVALID waits for the address and the last beat"},
    {"r_early", "IHI 0022E A3.3.1", "RVALID waits for the address"},
    {"response_id", "IHI 0022E A5.2, A5.3", "a response has the id of a transaction that waits for one"},
    {"exokay", "IHI 0022E A3.4.4", "EXOKAY answers no access that is not exclusive"},
    {"tvalid_held", "IHI 0051A 2.2.1", "TVALID stays until TREADY"},
    {"tdata_stable", "IHI 0051A 2.2.1", "TDATA stays until TREADY"},
};

struct Violations {
    uint64_t counts[RULES] = {};
    std::string first[RULES];
    uint64_t cycle = 0;
    void add(Rule rule, const std::string& where) {
        if (!counts[rule]++) first[rule] = where + " at clock " + std::to_string(cycle);
    }
};

struct Channel {  // VALID, READY and what goes with them
    std::string name;
    Signal valid, ready;
    std::vector<Signal> payload;
    bool stream = false;
    bool fired = false;  // a transfer in this clock
    bool waits = false;  // offered in the clock before and not taken
    std::vector<uint8_t> offer;

    std::vector<uint8_t> now() const {
        std::vector<uint8_t> bytes;
        for (auto& signal : payload) bytes.insert(bytes.end(), signal.at, signal.at + signal.bytes);
        return bytes;
    }
    void check(Violations& found, bool clean) {
        // A stream may fall silent when a reset of the DMAs resets its consumer too.
        const bool valid_now = valid.get(), ready_now = ready.get();
        if (waits && clean) {
            if (!valid_now) found.add(stream ? TVALID_HELD : VALID_HELD, name);
            else if (offer != now()) found.add(stream ? TDATA_STABLE : PAYLOAD_STABLE, name);
        }
        fired = valid_now && ready_now;
        waits = valid_now && !ready_now;
        if (waits) offer = now();
    }
};

enum Field {
    ARID, ARADDR, ARLEN, ARSIZE, ARBURST, ARCACHE, ARPROT, ARVALID, ARREADY,
    RID, RDATA, RRESP, RLAST, RVALID, RREADY,
    AWID, AWADDR, AWLEN, AWSIZE, AWBURST, AWCACHE, AWPROT, AWVALID, AWREADY,
    WDATA, WSTRB, WLAST, WVALID, WREADY, BID, BRESP, BVALID, BREADY, FIELDS
};
static const char* const FIELD_NAMES[FIELDS] = {
    "arid", "araddr", "arlen", "arsize", "arburst", "arcache", "arprot", "arvalid", "arready",
    "rid", "rdata", "rresp", "rlast", "rvalid", "rready",
    "awid", "awaddr", "awlen", "awsize", "awburst", "awcache", "awprot", "awvalid", "awready",
    "wdata", "wstrb", "wlast", "wvalid", "wready", "bid", "bresp", "bvalid", "bready"};

struct Bus {  // AXI4, or AXI4-Lite where there is no length
    std::string name;
    bool lite = false;
    size_t bytes = 0;  // of the data
    Signal signals[FIELDS];  // those that it has
    uint64_t taken = 0;      // the last read data
    Channel ar, r, aw, w, b;
    struct Burst { uint64_t id, address, beats, size; };
    std::map<uint64_t, std::deque<uint64_t>> reads;  // id -> beats left, burst by burst
    std::deque<Burst> announced;                     // addresses whose data have not all come
    std::deque<uint64_t> sent;                       // beats of bursts whose address has not come
    uint64_t beat = 0;                               // of the write burst on its way
    std::map<uint64_t, uint64_t> owed;               // id -> responses due
    uint64_t outstanding_reads = 0, outstanding_writes = 0;
    // What ids allow: read data of another burst before one is whole; responses before older ones.
    uint64_t interleaved = 0, overtaken = 0;
    int64_t reading = -1;                            // id of the read burst that is not whole yet
    std::deque<uint64_t> asked;                      // ids of write bursts without a response

    void add(const std::string& field, void* at, size_t bytes) {
        for (int i = 0; i < FIELDS; i++)
            if (field == FIELD_NAMES[i]) signals[i] = {static_cast<uint8_t*>(at), bytes};
    }
    void bind() {
        auto channel = [&](Channel& channel, const char* what, Field valid, int first, int last) {
            channel.name = name + " " + what;
            channel.valid = signals[valid];
            channel.ready = signals[valid + 1];
            for (int i = first; i <= last; i++)
                if (signals[i].at) channel.payload.push_back(signals[i]);
        };
        channel(ar, "ar", ARVALID, ARID, ARPROT);
        channel(r, "r", RVALID, RID, RLAST);
        channel(aw, "aw", AWVALID, AWID, AWPROT);
        channel(w, "w", WVALID, WDATA, WLAST);
        channel(b, "b", BVALID, BID, BRESP);
        lite = !signals[ARLEN].at && !signals[AWLEN].at;
        bytes = signals[aw.valid.at ? WDATA : RDATA].bytes;
    }
    bool quiet() const { return !outstanding_reads && !outstanding_writes; }

    void in_reset(Violations& found) {
        // A master's channels; those of a slave are low as well.
        for (auto* channel : {&ar, &aw, &w, &r, &b})
            if (channel->valid.at && channel->valid.get()) found.add(VALID_IN_RESET, channel->name);
    }
    Burst burst(Field first, Violations& found) {
        auto get = [&](int field, uint64_t other) {
            const Signal& one = signals[first - ARID + field];
            return one.at ? one.get() : other;
        };
        uint64_t size = 0;
        while ((1ULL << size) < bytes) size++;
        Burst burst{get(ARID, 0), get(ARADDR, 0), get(ARLEN, 0) + 1, 1ULL << get(ARSIZE, size)};
        if (lite) return burst;
        const std::string where = first == ARID ? ar.name : aw.name;
        if (get(ARBURST, 1) != 1) found.add(BURST_TYPE, where);
        if (burst.size > bytes) found.add(BURST_SIZE, where);
        const uint64_t start = burst.address / burst.size * burst.size;
        if (burst.address >> 12 != (start + burst.beats * burst.size - 1) >> 12)
            found.add(BURST_IN_4K, where);
        const uint64_t cache = get(ARCACHE, 3);
        if (!(cache & 2) && (cache & 12)) found.add(CACHE, where);
        return burst;
    }
    void complete(const Burst& burst) { owed[burst.id]++; }

    void check(Violations& found, bool clean) {
        if (ar.valid.at) {
            // Responses first: one in the clock of its own address comes too early.
            if (r.valid.get()) {
                const uint64_t id = signals[RID].get();
                auto& waiting = reads[id];
                if (waiting.empty()) found.add(outstanding_reads ? RESPONSE_ID : R_EARLY, r.name);
                if (signals[RRESP].get() == 1) found.add(EXOKAY, r.name);
                if (!waiting.empty() && !lite && signals[RLAST].get() != (waiting.front() == 1))
                    found.add(RLAST_PLACE, r.name);
            }
            r.check(found, clean);
            ar.check(found, clean);
            if (r.fired) {
                taken = signals[RDATA].get();
                const int64_t id = int64_t(signals[RID].get());
                interleaved += reading >= 0 && reading != id;
                reading = lite || signals[RLAST].get() ? -1 : id;
                auto& waiting = reads[signals[RID].get()];
                if (!waiting.empty() && !--waiting.front()) { waiting.pop_front(); outstanding_reads--; }
            }
            if (ar.fired) {
                Burst one = burst(ARID, found);
                reads[one.id].push_back(one.beats);
                outstanding_reads++;
            }
        }
        if (aw.valid.at) {
            if (b.valid.get()) {
                const uint64_t id = signals[BID].get();
                if (!owed[id]) {
                    bool other = false;
                    for (auto& [key, count] : owed) other = other || count;
                    found.add(other ? RESPONSE_ID : B_EARLY, b.name);
                }
                if (signals[BRESP].get() == 1) found.add(EXOKAY, b.name);
            }
            b.check(found, clean);
            aw.check(found, clean);
            w.check(found, clean);
            if (b.fired) {
                const uint64_t id = signals[BID].get();
                for (size_t i = 0; i < asked.size(); i++)
                    if (asked[i] == id) {
                        overtaken += i > 0;
                        asked.erase(asked.begin() + long(i));
                        break;
                    }
                auto& due = owed[id];
                if (due) { due--; outstanding_writes--; }
            }
            if (aw.fired) {
                Burst one = burst(AWID, found);
                outstanding_writes++;
                asked.push_back(one.id);
                announced.push_back(one);
                if (!sent.empty()) {
                    if (sent.front() != one.beats)
                        found.add(sent.front() < one.beats ? WLAST_EARLY : WLAST_MISSING, w.name);
                    sent.pop_front();
                    announced.pop_back();
                    complete(one);
                }
            }
            if (w.fired) {
                const bool last = lite || signals[WLAST].get();
                beat++;
                if (!announced.empty()) {
                    const Burst one = announced.front();
                    const uint64_t at = one.address / one.size * one.size + (beat - 1) * one.size;
                    const uint64_t low = beat == 1 ? one.address % bytes : at % bytes;
                    const uint64_t high = at % bytes + one.size;
                    for (uint64_t lane = 0; !lite && lane < bytes; lane++)
                        if ((lane < low || lane >= high) && (signals[WSTRB].at[lane / 8] >> lane % 8 & 1)) {
                            found.add(STROBES, w.name);
                            break;
                        }
                    if (last && beat < one.beats) found.add(WLAST_EARLY, w.name);
                    if (!last && beat == one.beats) found.add(WLAST_MISSING, w.name);
                    if (last || beat == one.beats) { complete(one); announced.pop_front(); beat = 0; }
                } else if (last) { sent.push_back(beat); beat = 0; }
            }
        }
    }
};
