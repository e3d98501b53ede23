#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>

#include "engine/context.h"
#include "engine/network.h"
#include "engine/ops.h"
#include "engine/plan.h"
#include "kernels/error.h"

// Any text is either a network that survives its own JSON and records, in both modes, onto a tape
// that can be planned, or an Error(usage). Nothing runs, so nothing large is allocated.
namespace {

void record_and_plan(const fulmar::Network& network, fulmar::Mode mode) {
  static fulmar::Context context(fulmar::Context::Options{1});
  fulmar::Tape tape;
  const fulmar::Val x = fulmar::ops::input(tape, "x", {{2, 9, 8, 3}});
  const fulmar::Val y = fulmar::record(network, tape, x, {mode});
  fulmar::make_plan(tape, std::array{y}, context.device("cpu"));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  try {
    const std::string text(reinterpret_cast<const char*>(data), bytes);
    const fulmar::Network network = fulmar::Network::from_json(text);
    const std::string json = network.to_json();
    if (fulmar::Network::from_json(json).to_json() != json) std::abort();
    record_and_plan(network, fulmar::Mode::eval);
    record_and_plan(network, fulmar::Mode::train);
  } catch (const fulmar::Error& error) {
    if (error.kind() != fulmar::ErrorKind::usage) std::abort();
  }
  return 0;
}
