#pragma once

#include <memory>
#include <vector>

#include "engine/tape.h"

namespace fulmar {

// A tape that a pass has recorded anew, and where the values of the tape before it went.
struct Rewritten {
  std::shared_ptr<Tape> tape;
  std::vector<std::vector<Val>> values;  // by node and output of the tape before

  // Empty: nothing computes the value any more, or nothing needed it.
  Val now(Val before) const {
    return before ? values[static_cast<size_t>(before.node)][static_cast<size_t>(before.output)]
                  : Val{};
  }
};

}  // namespace fulmar
