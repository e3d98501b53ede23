#include "tests/op_check.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "engine/fuse/fuse.h"
#include "tests/support/array.h"
#include "tests/support/guard.h"

namespace fulmar::test {
namespace {

bool same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

// Of the finite values.
double norm(const std::vector<double>& values) {
  double squares = 0;
  for (double v : values) squares += std::isfinite(v) ? v * v : 0;
  return std::sqrt(squares);
}

// NaN or infinite where only one of two values is, or they are infinities of either sign.
double distance(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> difference(a.size());
  for (size_t i = 0; i < a.size(); i++) difference[i] = same(a[i], b[i]) ? 0 : a[i] - b[i];
  double squares = 0;
  for (double v : difference) squares += v * v;
  return std::sqrt(squares);
}

double product(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); i++) sum += a[i] * b[i];
  return sum;
}

// sum |a b|
double size_of_product(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); i++) sum += std::abs(a[i] * b[i]);
  return sum;
}

std::string number(double value) {
  char digits[32];
  std::snprintf(digits, sizeof digits, "%.3g", value);
  return digits;
}

// Of a value, and in its role.
Operand cotangent(const ValueInfo& y) {
  return listed(constant_of(in_role(y.role, real("cotangent", y.shape))));
}

}  // namespace

std::string text(const Complaints& complaints) {
  std::string all;
  for (const std::string& line : complaints) all += "\n  " + line;
  return all;
}

namespace {

Recording record_forward(const Case& c) {
  Recording r;
  r.tape = std::make_shared<Tape>();
  r.operands = c.operands;
  for (const Operand& operand : c.operands)
    r.inputs.push_back(ops::input(*r.tape, operand.name, operand.info));
  r.outputs = c.build(*r.tape, r.inputs);
  return r;
}

Recording with_gradients(const Case& c, Recording r) {
  if (r.outputs.empty()) return r;
  std::vector<Val> wrt;
  for (size_t i = 0; i < c.operands.size(); i++)
    if (c.operands[i].differentiable) {
      wrt.push_back(r.inputs[i]);
      r.gradient_names.push_back("d " + c.operands[i].name);
    }
  if (wrt.empty()) return r;
  r.operands.push_back(cotangent(r.tape->info(r.outputs[0])));
  r.inputs.push_back(ops::input(*r.tape, "cotangent", r.operands.back().info));
  r.gradients = grad(*r.tape, r.outputs[0], wrt, r.inputs.back());
  return r;
}

}  // namespace

Recording record(const Case& c, bool gradients) {
  Recording r = record_forward(c);
  return gradients ? with_gradients(c, std::move(r)) : r;
}

Recording record_fused(const Case& c, bool gradients, const Device& device) {
  Recording r = record_forward(c);
  std::vector<Val> keep = r.outputs;
  keep.insert(keep.end(), r.inputs.begin(), r.inputs.end());
  const Rewritten fused = fuse(*r.tape, device, keep);
  for (std::vector<Val>* values : {&r.outputs, &r.inputs})
    for (Val& v : *values) v = fused.now(v);
  r.tape = fused.tape;
  return gradients ? with_gradients(c, std::move(r)) : r;
}

void set(Session& session, Val input, const Operand& operand) {
  const std::vector<double>& values = operand.values;
  if (operand.info.role == Role::source) {
    session.set_bytes(input, operand.bytes.data(), operand.bytes.size());
  } else if (operand.info.role != Role::index) {
    session.set(input, std::span<const double>(values));
  } else if (operand.info.type == DType::u8) {
    const std::vector<uint8_t> narrow(values.begin(), values.end());
    session.set_bytes(input, narrow.data(), narrow.size());
  } else {
    session.set(input,
                std::span<const int32_t>(std::vector<int32_t>(values.begin(), values.end())));
  }
}

std::vector<Result> run(const Recording& r, Context& context, Device& device) {
  std::vector<Val> wanted = r.outputs;
  wanted.insert(wanted.end(), r.gradients.begin(), r.gradients.end());
  Session session(context, device, r.tape, wanted);
  for (size_t i = 0; i < r.inputs.size(); i++)
    if (session.plan().leaves.end() !=
        std::find(session.plan().leaves.begin(), session.plan().leaves.end(), r.inputs[i].node))
      set(session, r.inputs[i], r.operands[i]);
  session.run();

  std::vector<Result> results;
  for (size_t i = 0; i < r.outputs.size(); i++)
    results.push_back({"output " + std::to_string(i), session.read(r.outputs[i]),
                       r.tape->info(r.outputs[i]).role == Role::index});
  for (size_t i = 0; i < r.gradients.size(); i++)
    results.push_back({r.gradient_names[i], session.read(r.gradients[i]), false});
  for (size_t i = 0; i < r.operands.size(); i++)
    if (r.operands[i].updated)
      results.push_back({r.operands[i].name + " afterwards", session.read(r.inputs[i]), false});
  return results;
}

bool same_values(const Result& a, const Result& b) {
  return std::equal(a.values.begin(), a.values.end(), b.values.begin(), b.values.end(), same);
}

Complaints check_parity(const Case& c, Context& context, Device& device) {
  return check_parity(c, record(c, true), context, device);
}

Complaints check_parity(const Case& c, const Recording& recording, Context& context,
                        Device& device) {
  const std::vector<Result> expected = run(record(c, true), context, context.device("reference"));
  const std::vector<Result> found = run(recording, context, device);
  const std::string where = std::string(device.backend().name) + ": " + c.name() + ": ";
  Complaints complaints;
  for (size_t i = 0; i < expected.size(); i++) {
    const Result &e = expected[i], &f = found[i];
    const double error = distance(f.values, e.values), size = norm(e.values);
    // Below a rounding error of numbers of order 1 there is nothing to compare.
    const double bound =
        e.exact ? 0 : c.tolerance * size + 1e-7 * std::sqrt(static_cast<double>(e.values.size()));
    if (std::find(c.elementwise.begin(), c.elementwise.end(), e.name) != c.elementwise.end())
      for (size_t k = 0; k < e.values.size(); k++)
        if (!same(f.values[k], e.values[k]) &&
            !(std::abs(f.values[k] - e.values[k]) <= c.tolerance * std::abs(e.values[k])))
          complaints.push_back(where + e.name + " [" + std::to_string(k) + "] is " +
                               number(f.values[k]) + ", should be " + number(e.values[k]));
    if (!(error <= bound))
      complaints.push_back(where + e.name + " is off by " + number(error) + ", its norm is " +
                           number(size) + ", the bound " + number(bound));
  }
  return complaints;
}

Complaints check_gradients(const Case& c, Context& context, Device& device) {
  const Recording r = record(c, true);
  if (r.gradients.empty()) return {};
  const std::string where = std::string(device.backend().name) + ": " + c.name() + ": ";
  const std::vector<double>& dy = r.operands.back().values;

  std::vector<Val> wanted = r.gradients;
  wanted.push_back(r.outputs[0]);
  Session session(context, device, r.tape, wanted);
  const auto is_used = [&](size_t i) {
    const auto& leaves = session.plan().leaves;
    return std::find(leaves.begin(), leaves.end(), r.inputs[i].node) != leaves.end();
  };
  // sum(y * dy) with operand `moved` shifted by `step` along `direction`; an op may have changed
  // operands in place, so all are set anew.
  const auto loss = [&](size_t moved, const std::vector<double>& direction, double step) {
    for (size_t i = 0; i < r.inputs.size(); i++) {
      if (!is_used(i)) continue;
      Operand operand = r.operands[i];
      for (size_t k = 0; i == moved && k < direction.size(); k++)
        operand.values[k] += step * direction[k];
      set(session, r.inputs[i], operand);
    }
    session.run();
    return product(session.read(r.outputs[0]), dy);
  };

  constexpr double h = 1e-3;
  Complaints complaints;
  size_t next = 0;
  for (size_t i = 0; i + 1 < r.operands.size(); i++) {
    if (!r.operands[i].differentiable) continue;
    const Val gradient = r.gradients[next++];
    loss(i, {}, 0);
    const std::vector<double> g = session.read(gradient);
    // The differences are of sums whose terms are rounded. (1e-11: of numbers of order 1 within an
    // op, such as 1 - y.)
    const double rounding = 16 * std::numeric_limits<double>::epsilon() / h *
                            size_of_product(session.read(r.outputs[0]), dy);
    for (uint64_t k = 0; k < 3; k++) {
      const std::vector<double> v = random_reals({static_cast<int64_t>(g.size())}, k + 1).values;
      const double slope =
          (8 * (loss(i, v, h) - loss(i, v, -h)) - (loss(i, v, 2 * h) - loss(i, v, -2 * h))) /
          (12 * h);
      const double expected = product(g, v);
      // A projection may be small by chance: it is measured by what it is on average.
      const double size =
          std::abs(expected) + norm(g) * norm(v) / std::sqrt(static_cast<double>(g.size()));
      if (!(std::abs(slope - expected) <= 1e-7 * size + 1e-11 + rounding))
        complaints.push_back(where + "d " + r.operands[i].name + " gives a slope of " +
                             number(expected) + ", differences " + number(slope) + ", off by " +
                             number(std::abs(slope - expected) / size));
    }
  }
  return complaints;
}

Case gradient_case(const Case& c, size_t operand) {
  const Recording forward = record(c, false);
  Case derived = c;
  Operand dy = cotangent(forward.tape->info(forward.outputs[0]));
  dy.differentiable = true;
  dy.name = "dy";
  derived.what += "; gradient by " + c.operands[operand].name;
  derived.operands.push_back(std::move(dy));
  derived.build = [build = c.build, operand](Tape& tape, std::span<const Val> x) {
    const Val y = build(tape, x.first(x.size() - 1))[0];
    return std::vector<Val>{grad(tape, y, x[operand], x.back())};
  };
  return derived;
}

namespace {

// A piece of device memory between guards.
class Guarded {
 public:
  Guarded(Device& device, size_t bytes)
      : device_(&device), bytes_(bytes), memory_(device, guarded_bytes(bytes)) {
    std::vector<std::byte> all(guarded_bytes(bytes));
    set_guards(all.data(), bytes);
    device.backend().copy_in(device.stream(), memory_.data(), all.data(), all.size());
  }
  std::byte* data() const { return memory_.data() + guard_bytes; }
  bool intact() const {
    std::vector<std::byte> all(guarded_bytes(bytes_));
    device_->backend().copy_out(device_->stream(), all.data(), memory_.data(), all.size());
    device_->backend().synchronize(device_->stream());
    return guards_intact(all.data(), bytes_);
  }

 private:
  Device* device_;
  size_t bytes_;
  DeviceBuffer memory_;
};

}  // namespace

Complaints check_guards(const Case& c, Context& context, Device& device) {
  return check_guards(c, record(c, true), context, device);
}

Complaints check_guards(const Case& c, const Recording& r, Context& context, Device& device) {
  std::vector<Val> wanted = r.outputs;
  wanted.insert(wanted.end(), r.gradients.begin(), r.gradients.end());
  const Plan p = make_plan(*r.tape, wanted, device, {.reuse = false});
  const std::string where = std::string(device.backend().name) + ": " + c.name() + ": ";

  // Every value and every piece of work memory by itself, of exactly its size.
  std::map<Val, Guarded> values;
  const auto view = [&](Val v) {
    if (!v) return View{};
    const ValueInfo& info = r.tape->info(v);
    const View wanted_view = view_of(nullptr, info.shape, type_on(device, info));
    auto at = values.find(v);
    if (at == values.end()) at = values.emplace(v, Guarded(device, wanted_view.bytes())).first;
    return view_of(at->second.data(), info.shape, wanted_view.type);
  };
  Session session(context, device, r.tape, wanted);
  for (size_t i = 0; i < r.inputs.size(); i++) {
    if (std::find(p.leaves.begin(), p.leaves.end(), r.inputs[i].node) == p.leaves.end()) continue;
    set(session, r.inputs[i], r.operands[i]);
    const View from = session.view(r.inputs[i]), to = view(r.inputs[i]);
    std::vector<std::byte> bytes(from.bytes());
    device.backend().copy_out(device.stream(), bytes.data(), from.data, bytes.size());
    device.backend().synchronize(device.stream());
    device.backend().copy_in(device.stream(), to.data, bytes.data(), bytes.size());
  }
  session.run();

  Complaints complaints;
  for (const Plan::Step& step : p.steps) {
    const Node& node = r.tape->node(step.node);
    std::vector<View> in, out;
    for (Val x : node.inputs) in.push_back(view(x));
    for (int i = 0; i < static_cast<int>(node.outputs.size()); i++)
      out.push_back(view(Val{step.node, i}));
    const size_t work_bytes = node.op->workspace_bytes(device, {in, out, nullptr});
    Guarded work(device, work_bytes);
    node.op->run(device, {in, out, work_bytes > 0 ? work.data() : nullptr});
    bool intact = work.intact();
    for (const auto& [v, memory] : values) intact = intact && memory.intact();
    if (!intact) {
      complaints.push_back(where + std::string(node.op->name()) + " writes outside its outputs");
      return complaints;
    }
  }
  for (Val v : wanted) {
    const View mine = view(v), theirs = session.view(v);
    std::vector<std::byte> a(mine.bytes()), b(theirs.bytes());
    device.backend().copy_out(device.stream(), a.data(), mine.data, a.size());
    device.backend().copy_out(device.stream(), b.data(), theirs.data, b.size());
    device.backend().synchronize(device.stream());
    if (a != b)
      complaints.push_back(where + r.tape->describe(v.node) +
                           " gives other bits in memory of its own than in a session");
  }
  return complaints;
}

}  // namespace fulmar::test
