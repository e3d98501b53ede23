#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/tape.h"

namespace fulmar {

// One piece of the arena: it holds values from the step that first writes it to the last that
// reads.
struct Buffer {
  size_t bytes = 0;
  size_t offset = 0;        // from the start of the arena
  int first = 0, last = 0;  // steps, both included
};

// Where a value lies: in a buffer of the arena, or with a leaf.
struct Place {
  int buffer = -1;    // -1: a leaf, or a value that nothing live computes
  size_t offset = 0;  // bytes from the buffer's start
};

// What runs, in which order, and where each value lies: fixed before anything runs.
struct Plan {
  struct Step {
    int node;
    int work = -1;  // buffer of scratch memory
  };
  std::vector<Step> steps;                 // live nodes but leaves, in tape order
  std::vector<int> leaves;                 // nodes of live leaves
  std::vector<std::vector<Place>> places;  // by node and output
  std::vector<Buffer> buffers;
  std::vector<Val> outputs;
  size_t arena_bytes = 0;

  const Place& place(Val v) const {
    return places[static_cast<size_t>(v.node)][static_cast<size_t>(v.output)];
  }
};

struct PlanOptions {
  bool reuse = true;  // false: every value has memory of its own (debugging, tests)
};

// Drops what neither an output nor a state update needs, runs pointwise ops in place where their
// input dies, lets producers write into joined values, and packs the rest by lifetime: largest
// first, each into the gap that fits best. Outputs live to the end of the run.
FULMAR_API Plan plan(const Tape& tape, std::span<const Val> outputs, Device& device,
                     const PlanOptions& options = {});

// What goes wrong if two buffers that are alive at the same time share memory: empty when none do.
FULMAR_API std::string overlap_in(const Plan& plan);

}  // namespace fulmar
