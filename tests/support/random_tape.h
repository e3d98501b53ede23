#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/tape.h"

namespace fulmar::test {

// A program made of random ops on small pictures, with gradients of some of its values, a joined
// flat gradient and, in every second one, ops that update state; in the others some weights are
// computed from a Model's. The same seed gives the same tape.
struct RandomTape {
  struct Input {
    Val val;
    std::vector<double> values;  // of reals
    bool is_step_state = false;  // else real
    bool updated = false;        // some op writes it in place
    std::string key{};           // a parameter's or statistic's of the Model; empty: an input
  };

  std::shared_ptr<Tape> tape = std::make_shared<Tape>();
  std::vector<Input> inputs;
  std::vector<Val> outputs;  // what is asked for: some values of any kind

  explicit RandomTape(uint64_t seed);
};

}  // namespace fulmar::test
