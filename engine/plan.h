#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/tape.h"

namespace fulmar {

// One piece of the arena. It holds values from the step that first writes it to the last step that
// reads it. Or a piece of the memory that a session keeps between runs, for a value of a `once`
// step.
struct Buffer {
  size_t bytes = 0;
  size_t offset = 0;        // from the start of the arena, or of the kept memory
  int first = 0, last = 0;  // steps, both included
  bool kept = false;
};

// Where a value lies: in a buffer, or with a leaf.
struct Allocation {
  int buffer = -1;    // -1: a leaf, or a dead value
  size_t offset = 0;  // bytes from the buffer's start
};

// The nodes that run, their order, and where each value lies: fixed before anything runs.
struct Plan {
  struct Step {
    int node;
    int work = -1;  // buffer of scratch memory
  };
  // Live nodes except leaves: first those that run once, then the others; both in tape order.
  std::vector<Step> steps;
  // So many first steps depend on weights, statistics and constants alone: they run again only when
  // the Model has changed. None where the tape itself updates state.
  int once = 0;
  std::vector<int> leaves;                           // nodes of live leaves
  std::vector<std::vector<Allocation>> allocations;  // by node and output
  std::vector<Buffer> buffers;
  std::vector<Val> outputs;
  size_t arena_bytes = 0;
  size_t kept_bytes = 0;

  const Allocation& allocation(Val v) const {
    return allocations[static_cast<size_t>(v.node)][static_cast<size_t>(v.output)];
  }
};

struct PlanOptions {
  bool reuse = true;  // false: every value has memory of its own (debugging, tests)
};

// Drops nodes that neither an output nor a state update needs. Runs pointwise ops in place where
// their input dies, lets producers write into joined values. Packs other values by lifetime:
// largest first, each into the gap that fits best. Outputs live to the end, and what later steps
// need of a `once` step lies outside the arena.
FULMAR_API Plan make_plan(const Tape& tape, std::span<const Val> outputs, Device& device,
                          const PlanOptions& options = {});

// The numbers of the nodes that run and of the leaves that they read, ascending.
FULMAR_API std::vector<int> nodes_of(const Plan& plan);

// Names two buffers that are alive at the same time and share memory; empty where no two do.
FULMAR_API std::string overlap_in(const Plan& plan);

}  // namespace fulmar
