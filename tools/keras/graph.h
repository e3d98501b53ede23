#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/keras/builder.h"

namespace fulmar::keras {

// What the layers of a configuration are like as a whole.
struct ReadGraph {
  std::vector<Value> outputs;
  int64_t layers = 0;                 // nested models' too
  int64_t inactive = 0;               // of augmentation
  std::string last_name, last_class;  // of the layer that gives the output
};

// Reads the graph of a Sequential or Functional model, and of those within it, as calls.
// Error(file) naming the layer and what is wrong with it; Error(usage) for options that don't fit
// the input.
ReadGraph read_graph(const Json& model, Builder& to, const NetworkOptions& options);

}  // namespace fulmar::keras
