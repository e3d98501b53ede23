#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include "engine/context.h"
#include "kernels/error.h"

namespace fulmar::tools {

// Takes how many of a job's units are done.
using Advance = std::function<void(int64_t done)>;

// Receives what the functions of this folder have to say while they work; they print nothing. By
// default it passes all of it over.
class Observer {
 public:
  virtual ~Observer() = default;
  // A sentence for people.
  virtual void on_note(const std::string& /*text*/) {}
  // A long job begins, of `total` units: ("decoding", 1632, "pictures"). The job calls the result
  // now and then, and destroys it at its end.
  virtual Advance on_job(const std::string& /*label*/, int64_t /*total*/,
                         const std::string& /*unit*/) {
    return [](int64_t) {};
  }
};

// Error(cancelled) where somebody asked the context to stop.
inline void stop_if_cancelled(const Context& context) {
  if (context.cancel) throw Error(ErrorKind::cancelled, "interrupted");
}

}  // namespace fulmar::tools
