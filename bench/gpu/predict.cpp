#include "bench/gpu/predict.h"

#include <algorithm>
#include <cmath>

namespace fulmar::bench {
namespace {

// Between two kernels of a graph, on its way to the first result. Assumed.
constexpr double launch_seconds = 2e-6;
// From a load to its value, out of memory; and loads that a warp has under way at once. Assumed.
constexpr double latency_seconds = 600e-9;
constexpr double loads_under_way = 2;
// Instructions in which a processor does a division, a root or an exponential: in float beside the
// special unit's own, in double alone. Assumed, of the size that nvcc makes.
constexpr double instructions_of_special = 8, instructions_of_special64 = 20;

constexpr double lanes = 32, schedulers = 4, sectors_a_clock = 4;

double number(uint64_t n) { return static_cast<double>(n); }

}  // namespace

Prediction predict(const Gpu& gpu, const counted::Launch& l,
                   const std::optional<Resources>& resources) {
  const double blocks = std::max(1.0, number(l.blocks()));
  const auto resident = std::max<uint64_t>(
      1, resident_blocks(gpu, l.threads(), resources, l.static_shared + l.dynamic_shared));
  const double warps_of_block = std::ceil(number(l.threads()) / lanes);

  // The processor with the most blocks ends last.
  const double most_blocks = std::ceil(blocks / gpu.processors);
  const double clocks = gpu.clock_ghz * 1e9 * blocks / most_blocks;  // of the busy processors
  const counted::Operations& w = l.warps;
  const double requests = number(l.loads.requests + l.stores.requests + l.shared.requests);
  const double fp32 = number(w.fp32 + w.fma32) + instructions_of_special * number(w.special);
  const double fp64 = number(w.fp64 + w.fma64) + instructions_of_special64 * number(w.special64);
  const double issued = fp32 + fp64 +
                        number(w.special + w.convert + w.integer + w.control + l.warp_operations) +
                        requests;

  Prediction p;
  p.occupancy = number(resident) * warps_of_block * lanes / number(gpu.threads);
  const double sector = number(counted::sector_bytes);
  const double bytes = sector * number(l.caches.read + l.caches.written);
  // Few warps can't keep the memory busy (Little's law).
  const double warps = std::min(blocks, number(resident) * gpu.processors) * warps_of_block;
  const double accesses = number(l.loads.requests + l.stores.requests);
  const double under_way = accesses == 0
                               ? gpu.memory_gbytes * 1e9 * latency_seconds
                               : warps * loads_under_way * sector *
                                     number(l.loads.sectors + l.stores.sectors) / accesses;
  const double reached = std::min(gpu.memory_gbytes * 1e9, under_way / latency_seconds);
  p.parts = {
      {"memory", bytes == 0 ? 0 : bytes / reached},
      {"L2", sector * number(l.caches.l2_sectors) / (gpu.l2_gbytes * 1e9)},
      {"L1", number(l.loads.sectors + l.stores.sectors) / sectors_a_clock / clocks},
      {"issue", issued / schedulers / clocks},
      {"fp32", fp32 * lanes / gpu.fp32 / clocks},
      {"fp64", fp64 * lanes / gpu.fp64 / clocks},
      {"special", number(w.special) * lanes / gpu.special / clocks},
      {"whole numbers", number(w.integer) * lanes / gpu.whole / clocks},
      {"conversion", number(w.convert) * lanes / gpu.convert64 / clocks},
      {"shared memory", number(l.shared.wavefronts) / clocks},
      {"matrix units", number(l.matrix_multiply_adds) / gpu.matrix / clocks},
      {"atomics", number(l.atomic_rounds) / clocks},
  };
  std::stable_sort(p.parts.begin(), p.parts.end(),
                   [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
  p.seconds = p.parts.front().seconds + launch_seconds;
  return p;
}

}  // namespace fulmar::bench
