#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bench/op_table/op_table.h"
#include "engine/context.h"
#include "engine/session.h"

// What is checked of every case of the op table. Each check gives its complaints, so that tests can
// also show that it complains about a broken kernel.
namespace fulmar::test {

using namespace op_table;

using Complaints = std::vector<std::string>;
std::string text(const Complaints& complaints);  // one a line

// A case on a tape: its outputs, and with `gradients` those of the first output's product with a
// random cotangent, by every differentiable operand.
struct Recording {
  std::shared_ptr<Tape> tape;
  std::vector<Operand> operands;  // of the case, and last the cotangent where there is one
  std::vector<Val> inputs;        // one for each operand
  std::vector<Val> outputs;
  std::vector<Val> gradients;               // one for each of:
  std::vector<std::string> gradient_names;  // "d x"
};
Recording record(const Case& c, bool gradients);
// With fused ops of the device; outputs are kept. Gradients are those of the fused tape.
Recording record_fused(const Case& c, bool gradients, const Device& device);

// A tensor that a run leaves behind: an output, a gradient, or an operand updated in place.
struct Result {
  std::string name;
  std::vector<double> values;
  bool exact;  // an index: compared for equality
};

// Whether all values are equal, a NaN to a NaN.
bool same_values(const Result& a, const Result& b);

void set(Session& session, Val input, const Operand& operand);
std::vector<Result> run(const Recording& recording, Context& context, Device& device);

// Forward and gradients on `device` against `reference`, by norm of each tensor.
Complaints check_parity(const Case& c, Context& context, Device& device);
// The same of a recording of the case on `device`.
Complaints check_parity(const Case& c, const Recording& recording, Context& context,
                        Device& device);

// Gradients against central differences of fourth order along three random directions for each
// operand, in float64 on `device`.
Complaints check_gradients(const Case& c, Context& context, Device& device);

// The case whose first output is the gradient of `c` by its operand number `operand`; the
// cotangent is an operand of its own.
Case gradient_case(const Case& c, size_t operand);

// Runs node by node, each buffer in memory of its own that starts as NaN and lies between guard
// bytes. Complains of a node that writes outside its outputs, or whose results differ from
// a Session's by a bit.
Complaints check_guards(const Case& c, Context& context, Device& device);
Complaints check_guards(const Case& c, const Recording& recording, Context& context,
                        Device& device);

}  // namespace fulmar::test
