#pragma once

#include <string>
#include <vector>

#include "kernels/counted/counts.h"

namespace fulmar::bench {

// body(name, count) for every count that adds up: of arithmetic, and of a launch.
template <class Operations, class Body>
void for_each_operation(const std::string& who, Operations& o, const Body& body) {
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
template <class Launch, class Body>
void for_each_count(Launch& l, const Body& body) {
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

// Adds `more` to a sum over launches.
void add(counted::Launch& sum, const counted::Launch& more);

// The launches of the same work on `pixels`, from what was counted on two smaller sizes. Launches
// belong together by kernel and turn; a count goes on along the line through the two, so that what
// depends on weights alone stays. A kernel that the two sizes do not launch equally often (sums are
// split by their rows) grows as the pixels do.
// What L2 kept from launch to launch at the small sizes says nothing of the large one: each launch
// reads and writes memory once for every sector that it touches.
struct CountedSize {
  double pixels;
  std::vector<counted::Launch> launches;
};
std::vector<counted::Launch> scaled_to(double pixels, const CountedSize& small,
                                       const CountedSize& large);

}  // namespace fulmar::bench
