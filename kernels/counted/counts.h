#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

// What kernels do on the emulator, counted. Plain numbers, shared by the library that counts and
// those who read them.
namespace fulmar::counted {

constexpr uint64_t sector_bytes = 32;

// Accesses to global memory in one direction. A request is what the lanes of a warp ask for at one
// place of the code at one time.
struct Traffic {
  uint64_t requests = 0;
  uint64_t sectors = 0;         // of 32 bytes, each once a request
  uint64_t used_bytes = 0;      // of these sectors, each byte once a request
  uint64_t unique_sectors = 0;  // each once a launch

  double sectors_a_request() const {
    return requests == 0 ? 0 : static_cast<double>(sectors) / static_cast<double>(requests);
  }
  double used_share() const {
    return sectors == 0
               ? 1
               : static_cast<double>(used_bytes) / static_cast<double>(sectors * sector_bytes);
  }
};

// Sectors by the level that served them. Loads ask the block's own L1, then L2; stores pass L1 by
// and go to L2, which writes them to memory when it needs the room.
struct Caches {
  uint64_t l1_hits = 0;
  uint64_t l2_sectors = 0, l2_hits = 0;  // asked of L2, both directions
  uint64_t read = 0, written = 0;        // from and to memory
};

// Shared memory has 32 banks of 4 bytes. Accesses of 8 and 16 bytes take a warp 2 and 4 phases.
struct Shared {
  uint64_t requests = 0;
  uint64_t phases = 0;      // what the requests would take without conflicts
  uint64_t wavefronts = 0;  // what they take
  uint64_t worst = 0;       // wavefronts of one phase, the most: 2 is a two-way conflict
};

// Arithmetic, an instruction of one lane each; of a fused multiply-add that it is one. `integer`
// and `control` are as the C++ compiler left them, near to what nvcc leaves.
struct Operations {
  uint64_t fp32 = 0, fma32 = 0;
  uint64_t fp64 = 0, fma64 = 0;
  uint64_t special = 0, special64 = 0;  // square roots, divisions, exponentials, ...
  uint64_t convert = 0, integer = 0, control = 0;

  void add(const Operations& o, uint64_t times) {
    fp32 += o.fp32 * times;
    fma32 += o.fma32 * times;
    fp64 += o.fp64 * times;
    fma64 += o.fma64 * times;
    special += o.special * times;
    special64 += o.special64 * times;
    convert += o.convert * times;
    integer += o.integer * times;
    control += o.control * times;
  }
  uint64_t all() const {
    return fp32 + fma32 + fp64 + fma64 + special + special64 + convert + integer + control;
  }
  double flops32() const { return static_cast<double>(fp32 + 2 * fma32); }
  double flops64() const { return static_cast<double>(fp64 + 2 * fma64); }
};

struct Launch {
  std::string name;    // as errors call it
  std::string symbol;  // of the kernel's function, mangled; empty where it is not known
  std::array<uint32_t, 3> grid{}, block{};
  uint64_t static_shared = 0, dynamic_shared = 0;  // bytes of a block

  Traffic loads, stores;
  Caches caches;
  Shared shared;
  uint64_t atomics = 0;            // of single lanes
  uint64_t atomic_rounds = 0;      // lanes that meet at one address come one after the other
  uint64_t barriers = 0;           // of blocks
  uint64_t warp_operations = 0;    // shuffles, votes, matrix operations and their loads
  uint64_t matrix_operations = 0;  // of warps on tensor cores: one mma each
  uint64_t matrix_multiply_adds = 0;

  Operations lanes;  // what lanes computed
  Operations warps;  // what warps issued for it
  // By basic block: places for lanes when a warp runs it, and lanes that ran it.
  uint64_t lane_slots = 0, lane_runs = 0;

  uint64_t blocks() const { return uint64_t{grid[0]} * grid[1] * grid[2]; }
  uint64_t threads() const { return uint64_t{block[0]} * block[1] * block[2]; }
  double idle_share() const {
    return lane_slots == 0 ? 0
                           : 1 - static_cast<double>(lane_runs) / static_cast<double>(lane_slots);
  }
};

// body(name, count) for every count that adds up: of arithmetic, and of a launch.
template <class Counted, class Body>
void for_each_operation(const std::string& who, Counted& o, const Body& body) {
  body(who + "fp32", o.fp32);
  body(who + "fma32", o.fma32);
  body(who + "fp64", o.fp64);
  body(who + "fma64", o.fma64);
  body(who + "special", o.special);
  body(who + "special64", o.special64);
  body(who + "convert", o.convert);
  body(who + "integer", o.integer);
  body(who + "control", o.control);
}
template <class Counted, class Body>
void for_each_count(Counted& l, const Body& body) {
  body("load_requests", l.loads.requests);
  body("load_sectors", l.loads.sectors);
  body("load_used_bytes", l.loads.used_bytes);
  body("load_unique_sectors", l.loads.unique_sectors);
  body("store_requests", l.stores.requests);
  body("store_sectors", l.stores.sectors);
  body("store_used_bytes", l.stores.used_bytes);
  body("store_unique_sectors", l.stores.unique_sectors);
  body("l1_hits", l.caches.l1_hits);
  body("l2_sectors", l.caches.l2_sectors);
  body("l2_hits", l.caches.l2_hits);
  body("memory_sectors_read", l.caches.read);
  body("memory_sectors_written", l.caches.written);
  body("shared_requests", l.shared.requests);
  body("shared_phases", l.shared.phases);
  body("shared_wavefronts", l.shared.wavefronts);
  body("atomics", l.atomics);
  body("atomic_rounds", l.atomic_rounds);
  body("barriers", l.barriers);
  body("warp_operations", l.warp_operations);
  body("matrix_operations", l.matrix_operations);
  body("matrix_multiply_adds", l.matrix_multiply_adds);
  body("lane_slots", l.lane_slots);
  body("lane_runs", l.lane_runs);
  for_each_operation("lane_", l.lanes, body);
  for_each_operation("warp_", l.warps, body);
}

// The machine that is modelled while counting.
struct Machine {
  uint64_t l2_bytes = uint64_t{50} << 20;
  uint64_t l1_bytes = uint64_t{128} << 10;  // of a processor, shared out to its resident blocks
  uint64_t threads = 2048;                  // resident on a processor
  int max_blocks = 4224;                    // a grid that strides has at most so many
  // Of a launch that has more blocks so many run, and count for all; 0: all run.
  uint64_t most_run = 0;
};

}  // namespace fulmar::counted
