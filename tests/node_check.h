#pragma once

#include <functional>

#include "tests/op_check.h"

namespace fulmar::test {

// How a device with bf16 activations is compared with the emulation of one (emulated_bf16.h):
// node by node, both on the emulation's inputs, so that no difference travels further.
//
// The two round the same number but for the device's float32 error, `tolerance` relative to the
// tensor. So a bf16 result differs in few elements, those whose rounding falls on the other side,
// and there by one step of bf16: the chance is that error over half a step, 2^-9. Others (float32,
// float64) differ by norm, indices not at all.
struct NodeDifferences {
  Complaints complaints;
  int64_t elements = 0, flipped = 0;  // of bf16 results
};

// A device's float32 error in a node's results.
using NodeTolerance = std::function<double(const Node&)>;

// `exact` is a Session of the emulation with its inputs set, whose nodes for `outputs` are run on
// `device`.
NodeDifferences compare_nodes(Session& exact, Device& emulation, Device& device,
                              std::span<const Val> outputs, const NodeTolerance& tolerance,
                              const std::string& where);

// The same for a case of the op table, with its gradients; its own tolerance where none is given.
NodeDifferences compare_nodes(const Case& c, Context& context, Device& emulation, Device& device,
                              const NodeTolerance& tolerance = nullptr);

}  // namespace fulmar::test
