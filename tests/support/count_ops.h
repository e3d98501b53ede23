#pragma once

#include <string_view>

#include "engine/tape.h"

namespace fulmar::test {

// How many nodes of a tape, from one on, are ops of this name.
inline int count_ops(const Tape& tape, std::string_view name, int from = 0) {
  int found = 0;
  for (int n = from; n < tape.size(); n++) found += tape.node(n).op->name() == name;
  return found;
}

}  // namespace fulmar::test
