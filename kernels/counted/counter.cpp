#include "kernels/counted/counter.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string>

#include "kernels/counted/machine_code.h"
#include "kernels/simt/run.h"

namespace fulmar::counted {
namespace {

thread_local Counter* counting = nullptr;

// A finaliser of splitmix64: spreads what differs in few bits.
uint64_t mixed(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

uint32_t number_of(std::unordered_map<uint64_t, uint32_t>& numbers, uint64_t key) {
  return numbers.try_emplace(key, static_cast<uint32_t>(numbers.size())).first->second;
}

uint32_t bits_from(uint64_t first, unsigned count) {
  return static_cast<uint32_t>(((uint64_t{1} << count) - 1) << first);
}

// Runs of neighbours among the blocks that run, as far apart as they can be.
constexpr uint64_t windows = 4;

std::array<uint32_t, 3> extents(const dim3& d) { return {d.x, d.y, d.z}; }

}  // namespace

Counter::Counter(GlobalMemory& memory, const Machine& machine)
    : memory_(memory), machine_(machine), l2_(machine.l2_bytes) {}

Counter::~Counter() = default;

Counter::Turn::Turn() : counter_(std::exchange(counting, nullptr)) {}
Counter::Turn::~Turn() {
  if (counter_) counting = counter_;
}

void Counter::launch_begins(const simt::Work& work) {
  launch_.emplace();
  launch_->name = work.name;
  launch_->symbol = MachineCode::own().symbol_at(reinterpret_cast<uint64_t>(work.code));
  launch_->grid = extents(work.grid);
  launch_->block = extents(work.block);
  launch_->dynamic_shared = work.dynamic_shared;
  // A processor's L1 is shared by the blocks that are resident on it.
  l1_.emplace(machine_.l1_bytes * launch_->threads() / machine_.threads);
  memory_.begin();
  blocks_run_ = 0;
  std::fill(std::begin(common_), std::end(common_), 0);
  std::fill(runs_.begin(), runs_.end(), Runs{});
}

void Counter::launch_ends() {
  counting = nullptr;
  const MachineCode& code = MachineCode::own();
  for (size_t i = 0; i < runs_.size(); i++) {
    if (runs_[i].lanes == 0) continue;
    const Operations operations = code.operations_at(blocks_[i]);
    launch_->lanes.add(operations, runs_[i].lanes);
    launch_->warps.add(operations, runs_[i].warps);
  }
  if (machine_.most_run > 0) stand_for_all();
  done_.push_back(std::move(*launch_));
  launch_.reset();
}

bool Counter::runs_block(uint64_t block, uint64_t blocks) {
  window_ = 0;
  if (machine_.most_run > 0 && blocks > machine_.most_run) {
    const uint64_t wide = (machine_.most_run + windows - 1) / windows;
    const auto begin = [&](uint64_t w) { return w * (blocks - wide) / (windows - 1); };
    while (window_ + 1u < windows && block >= begin(window_ + 1u)) window_++;
    if (block >= begin(window_) + wide) return false;
  }
  blocks_run_++;
  return true;
}

// What several windows touch, all blocks do; the rest grows as blocks do. What L2 kept says nothing
// then: memory is read and written once for each sector.
void Counter::stand_for_all() {
  Launch& l = *launch_;
  const double share =
      static_cast<double>(l.blocks()) / static_cast<double>(std::max<uint64_t>(blocks_run_, 1));
  if (blocks_run_ < l.blocks())
    for_each_count(l, [&](const std::string&, uint64_t& count) {
      count = static_cast<uint64_t>(std::llround(static_cast<double>(count) * share));
    });
  l.loads.unique_sectors += common_[0];
  l.stores.unique_sectors += common_[1];
  l.caches.read = l.loads.unique_sectors;
  l.caches.written = l.stores.unique_sectors;
  l.caches.l2_hits = l.caches.l2_sectors - std::min(l.caches.l2_sectors, l.caches.read);
}

void Counter::block_begins(unsigned threads) {
  counting = this;
  shared_.clear();
  l1_->clear();
  warps_.resize(std::max<size_t>(warps_.size(), (threads + 31) / 32));
  for (WarpRecord& warp : warps_) warp.clear();
  calls_.resize(std::max<size_t>(calls_.size(), threads));
  for (std::vector<uint64_t>& calls : calls_) calls.assign(1, 0);
}

void Counter::thread_runs(unsigned thread) {
  thread_ = thread;
  moved_ = {};
}

void Counter::shared_array(const void* address, size_t bytes) {
  const auto begin = reinterpret_cast<uint64_t>(address);
  if (std::find(shared_.begin(), shared_.end(), std::pair(begin, begin + bytes)) != shared_.end())
    return;
  shared_.emplace_back(begin, begin + bytes);
  uint64_t all = 0;
  for (const auto& [from, to] : shared_) all += to - from;
  // Arrays come one by one: what is dynamic may not be among them yet.
  if (all > launch_->dynamic_shared)
    launch_->static_shared = std::max(launch_->static_shared, all - launch_->dynamic_shared);
}

std::optional<Space> Counter::space_of(uint64_t address) {
  for (const auto& [begin, end] : shared_)
    if (address >= begin && address < end) return Space::shared;
  if (memory_.holds(address)) return Space::global;
  return std::nullopt;
}

void Counter::moved_at_once(uint64_t at, uint64_t address, unsigned bytes) {
  moved_[next_moved_++ % moved_.size()] = {at, address, bytes};
}

// Whether an access is a part of what is moved at once; then it becomes the whole. `first`: whether
// no other part came before.
bool Counter::is_part_of_a_move(Kind kind, uint64_t& at, uint64_t& address, unsigned& bytes,
                                bool& first) {
  for (size_t back = 1; back <= moved_.size(); back++) {
    Moved& m = moved_[(next_moved_ - back) % moved_.size()];
    if (address < m.address || address + bytes > m.address + m.bytes) continue;
    const uint32_t part = bits_from(address - m.address, bytes);
    // The compiler may report the bytes both as a whole and one by one.
    const bool told_twice = back == 1 && kind == Kind::load && m.kind == kind;
    if ((m.done & part) && !told_twice) continue;
    first = m.done == 0;
    if (first) m.kind = kind;
    m.done |= part;
    at = m.at;
    address = m.address;
    bytes = m.bytes;
    return true;
  }
  return false;
}

uint32_t Counter::place_of(uint64_t at) {
  return number_of(places_, mixed(at) ^ calls_[thread_].back());
}

void Counter::access(uint64_t at, Kind kind, uint64_t address, unsigned bytes) {
  bool first = true;
  if (is_part_of_a_move(kind, at, address, bytes, first) && !first) return;
  const std::optional<Space> space = space_of(address);
  if (!space) return;
  // What is larger than a register takes several accesses, as large as its address allows.
  for (unsigned done = 0; done < bytes;) {
    unsigned now = bytes - done;
    if (now > 16 || (now & (now - 1)) != 0) {
      now = 16;
      while (now > bytes - done || (address + done) % now != 0) now /= 2;
    }
    const uint32_t place = place_of(at * 3 + static_cast<unsigned>(kind) + (uint64_t{done} << 48));
    warps_[thread_ / 32].access(place, thread_ % 32, kind, *space, address + done, now);
    done += now;
  }
}

void Counter::basic_block(uint64_t at) {
  const uint32_t place = number_of(block_places_, at);
  if (place == blocks_.size()) {
    blocks_.push_back(at);
    runs_.emplace_back();
  }
  warps_[thread_ / 32].run(place, thread_ % 32);
}

void Counter::call_begins(uint64_t from) {
  std::vector<uint64_t>& calls = calls_[thread_];
  calls.push_back(mixed(calls.back() + from));
}

void Counter::call_ends() {
  std::vector<uint64_t>& calls = calls_[thread_];
  if (calls.size() > 1) calls.pop_back();
}

void Counter::lanes_meet(unsigned warp) {
  WarpRecord& record = warps_[warp];
  for (const Request& request : record.requests()) count(request);
  for (const WarpRecord::Runs& runs : record.runs()) {
    uint64_t sum = 0, most = 0;
    for (const uint32_t times : runs.of) {
      sum += times;
      most = std::max<uint64_t>(most, times);
    }
    runs_[runs.place].lanes += sum;
    runs_[runs.place].warps += most;
    launch_->lane_runs += sum;
    launch_->lane_slots += 32 * most;
  }
  record.clear();
}

void Counter::count(const Request& request) {
  if (request.space == Space::shared)
    add_shared(request, launch_->shared);
  else
    count_global(request);
  if (request.kind != Kind::atomic) return;
  launch_->atomics += static_cast<uint64_t>(__builtin_popcount(request.lanes));
  launch_->atomic_rounds += atomic_rounds(request);
}

void Counter::count_global(const Request& request) {
  const Sectors sectors = sectors_of(request);
  const bool writes = request.kind != Kind::load;
  Traffic& traffic = writes ? launch_->stores : launch_->loads;
  traffic.requests++;
  traffic.sectors += sectors.count;
  traffic.used_bytes += sectors.used_bytes();
  Caches& caches = launch_->caches;
  for (size_t i = 0; i < sectors.count; i++) {
    const auto& [number, bytes] = sectors.list[i];
    const uint64_t first_byte = number * sector_bytes + static_cast<uint64_t>(__builtin_ctz(bytes));
    switch (writes ? memory_.write(first_byte, window_) : memory_.read(first_byte, window_)) {
      case GlobalMemory::Touch::first:
        traffic.unique_sectors++;
        break;
      case GlobalMemory::Touch::again:
        break;
      case GlobalMemory::Touch::shared:
        traffic.unique_sectors--;
        common_[writes]++;
        break;
    }
    if (!writes && l1_->read(number)) {
      caches.l1_hits++;
      continue;
    }
    caches.l2_sectors++;
    const uint64_t written = l2_.written_back();
    const bool hit = writes ? l2_.write(number) : l2_.read(number);
    caches.l2_hits += hit;
    caches.read += !hit && !writes;
    caches.written += l2_.written_back() - written;
  }
}

}  // namespace fulmar::counted
