#include "engine/context.h"

#include <utility>

#include "kernels/error.h"

namespace fulmar {

Context::Context() : Context(Options{}) {}

Context::Context(Options options)
    : options_(std::move(options)),
      pool_(options_.threads),
      cpu_(cpu_backend(), Stream{&pool_, nullptr}),
      reference_(reference_backend(), Stream{&pool_, nullptr}) {}

Device& Context::device(const std::string& name) {
  if (name == "cpu") return cpu_;
  if (name == "reference") return reference_;
  device_error("there is no device '" + name + "': this build has cpu and reference");
}

}  // namespace fulmar
