#pragma once

#include <doctest/doctest.h>

#include <array>
#include <string>

#include "engine/context.h"
#include "tests/node_check.h"
#include "tests/support/emulated_bf16.h"
#include "tests/support/teacher.h"

namespace fulmar::test {

// Of training steps of the polar-low network, crop 64, batch 2, on a device with bf16 activations:
// each node from float64 states. tolerance: the device's float32 error.
inline void check_nodes_of_bf16_steps(Device& device, int64_t steps,
                                      const NodeTolerance& tolerance) {
  constexpr double flip_bound = 1e-4;  // of all bf16 results
  for (const std::string widths : {"published", "narrow"}) {
    CAPTURE(widths);
    const Golden golden("polar_low_torch_64_" + widths);
    const nlohmann::json seeds = golden.metadata("step_seeds");
    Context context;
    Device emulation(emulated_bf16(), context.device("reference").stream());
    Teacher teacher(context, context.device("reference"), golden);
    Teacher emulated(context, emulation, golden);  // forward, backward, AdamW
    NodeDifferences total;
    for (int64_t step = 0; step < steps; step++) {
      CAPTURE(step);
      copy_state(teacher.model, emulated.model);
      emulated.set(golden, seeds[step]);
      const NodeDifferences found =
          compare_nodes(*emulated.session, emulation, device, std::array{emulated.recorded.loss},
                        tolerance, widths);
      CHECK_MESSAGE(found.complaints.empty(), text(found.complaints));
      total.elements += found.elements;
      total.flipped += found.flipped;
      teacher.step(golden, seeds[step]);
    }
    CHECK(static_cast<double>(total.flipped) <= flip_bound * static_cast<double>(total.elements));
    MESSAGE(widths, " widths: ", total.flipped, " of ", total.elements,
            " bf16 results are rounded otherwise");
  }
}

}  // namespace fulmar::test
