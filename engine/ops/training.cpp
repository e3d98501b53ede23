#include "engine/ops/training.h"

#include <array>
#include <vector>

#include "engine/ops.h"
#include "engine/optimizer.h"
#include "engine/shape_rules.h"

namespace fulmar::ops {
namespace {

const StepState* as_step_state(const View& view) { return view.as<const StepState>(); }

// The elements [begin, begin + shape.elements()) of a flat buffer.
View segment(const View& flat, int64_t begin, const Shape& shape) {
  auto* data =
      static_cast<std::byte*>(flat.data) + begin * static_cast<int64_t>(size_of(flat.type));
  return view_of(data, shape, flat.type);
}

Val step_state(Tape& tape) { return buffer(tape, "/step_state", step_state_info()); }

// An optimiser's operands: g, weight, nonfinite, the arenas of these names, segments, step state.
void require_update(std::span<const ValueInfo> in, std::span<const char* const> arenas) {
  require_same(in[1], Shape{1}, "weight");
  require(in[2].role == Role::index && in[2].type == DType::i32, "nonfinite must be an i32 index");
  require_same(in[2], Shape{1}, "nonfinite");
  for (size_t i = 0; i < arenas.size(); i++) require_same(in[3 + i], in[0].shape, arenas[i]);
}

// The same for its kernel.
struct Update {
  const View &g, &weight, &nonfinite;
  const Segment* segments;
  int64_t segment_count;
  const StepState* state;

  Update(const RunArgs& args, size_t arenas)
      : g(args.in[0]),
        weight(args.in[1]),
        nonfinite(args.in[2]),
        segments(args.in[3 + arenas].as<const Segment>()),
        segment_count(args.in[3 + arenas].shape.elements() / static_cast<int64_t>(sizeof(Segment))),
        state(as_step_state(args.in[4 + arenas])) {}
};

// Settings that an optimiser's description lists, as an op tells them.
Attributes attributes_of(const Optimizer& optimizer) {
  Attributes all;
  for (const auto& [name, value] : settings_of(optimizer)) all[name] = value;
  return all;
}

}  // namespace

std::vector<ValueInfo> Dropout::infer(std::span<const ValueInfo> in) const {
  require(rate >= 0 && rate < 1, "the rate must be in [0, 1)");
  return {activation(in[0].shape)};
}

std::vector<Val> Dropout::vjp(const Vjp& v) const {
  return {v.tape.append(std::make_shared<Dropout>(rate, id), {v.dy[0], v.x[1]}), {}};
}

void Dropout::run(Device& device, const RunArgs& args) const {
  device.backend().dropout(device.stream(), args.in[0], args.out[0], as_step_state(args.in[1]),
                           rate, id);
}

std::vector<ValueInfo> Join::infer(std::span<const ValueInfo> in) const {
  require(in.size() == offsets.size(), "needs an offset for each operand");
  int64_t end = 0;
  for (size_t i = 0; i < in.size(); i++) {
    require(in[i].is_real() && offsets[i] >= end,
            "operands must be float tensors in order of their offsets, without overlap");
    require_role(in[i], Role::parameter, "an operand");
    end = offsets[i] + in[i].shape.elements();
  }
  require(end <= size, "operands end at " + text(end) + ", the flat value at " + text(size));
  return {of_role(Role::parameter, Shape{size})};
}

void Join::run(Device& device, const RunArgs& args) const {
  const Backend& backend = device.backend();
  int64_t end = 0;
  const auto zero_until = [&](int64_t begin) {
    if (begin > end) backend.fill(device.stream(), segment(args.out[0], end, {begin - end}), 0);
  };
  for (size_t i = 0; i < args.in.size(); i++) {
    const View to = segment(args.out[0], offsets[i], args.in[i].shape);
    if (args.in[i].data != to.data) backend.copy(device.stream(), args.in[i], to);
    zero_until(offsets[i]);
    end = offsets[i] + to.shape.elements();
  }
  zero_until(size);
}

std::vector<ValueInfo> Accumulate::infer(std::span<const ValueInfo> in) const {
  require_same(in[1], in[0].shape, "the sum");
  return {};
}

void Accumulate::run(Device& device, const RunArgs& args) const {
  device.backend().accumulate(device.stream(), args.in[0], args.in[1], as_step_state(args.in[2]));
}

std::vector<ValueInfo> CountNonfinite::infer(std::span<const ValueInfo> in) const {
  require(!in.empty(), "needs an operand");
  for (const ValueInfo& x : in)
    require(x.is_real() || x == ValueInfo{Shape{1}, Role::index, DType::i32},
            "takes float tensors, and counts i32 [1]");
  return {{Shape{1}, Role::index, DType::i32}};
}

void CountNonfinite::run(Device& device, const RunArgs& args) const {
  device.backend().count_nonfinite(device.stream(), args.in, args.out[0]);
}

std::vector<ValueInfo> Store::infer(std::span<const ValueInfo> in) const {
  require(
      in[0].shape == in[1].shape && same_type(in[0].role, in[1].role) &&
          (in[0].is_real() || in[0].type == in[1].type),
      "x " + text(in[0].shape) + " must have shape and type of the buffer " + text(in[1].shape));
  return {};
}

void Store::run(Device& device, const RunArgs& args) const {
  device.backend().copy(device.stream(), args.in[0], args.in[1]);
}

std::vector<ValueInfo> AdamWOp::infer(std::span<const ValueInfo> in) const {
  require_update(in, std::array{"theta", "m", "v"});
  return {};
}

void AdamWOp::run(Device& device, const RunArgs& args) const {
  const Update u(args, 3);
  device.backend().adamw(device.stream(), u.g, u.weight, u.nonfinite, args.in[3], args.in[4],
                         args.in[5], u.segments, u.segment_count, u.state, how);
}

std::vector<ValueInfo> SgdOp::infer(std::span<const ValueInfo> in) const {
  require_update(in, std::array{"theta", "v"});
  return {};
}

void SgdOp::run(Device& device, const RunArgs& args) const {
  const Update u(args, 2);
  device.backend().sgd(device.stream(), u.g, u.weight, u.nonfinite, args.in[3], args.in[4],
                       u.segments, u.segment_count, u.state, how);
}

std::vector<ValueInfo> LarsOp::infer(std::span<const ValueInfo> in) const {
  require_update(in, std::array{"theta", "v"});
  return {};
}

void LarsOp::run(Device& device, const RunArgs& args) const {
  const Update u(args, 2);
  device.backend().lars(device.stream(), u.g, u.weight, u.nonfinite, args.in[3], args.in[4],
                        u.segments, u.segment_count, u.state, how);
}

Attributes Dropout::attributes() const {
  return {{"rate", rate}, {"id", static_cast<int64_t>(id)}};
}
Attributes Join::attributes() const { return {{"offsets", offsets}}; }
Attributes AdamWOp::attributes() const { return attributes_of(how); }
Attributes SgdOp::attributes() const { return attributes_of(how); }
Attributes LarsOp::attributes() const { return attributes_of(how); }

ValueInfo step_state_info() {
  return {Shape{static_cast<int64_t>(sizeof(StepState))}, Role::source, DType::u8};
}

Val dropout(Tape& tape, Val x, double rate, uint64_t id) {
  return tape.append(std::make_shared<Dropout>(rate, id),
                     {as_role(tape, x, Role::activation), step_state(tape)});
}

Val join(Tape& tape, std::span<const Val> x, std::span<const int64_t> offsets, int64_t size) {
  std::vector<Val> parts;
  for (const Val part : x) parts.push_back(as_role(tape, part, Role::parameter));
  return tape.append(
      std::make_shared<Join>(std::vector<int64_t>(offsets.begin(), offsets.end()), size),
      std::move(parts));
}

void accumulate(Tape& tape, Val g, Val sum) {
  tape.append(std::make_shared<Accumulate>(),
              {as_role(tape, g, Role::parameter), sum, step_state(tape)});
}

void store(Tape& tape, Val x, Val buffer) { tape.append(std::make_shared<Store>(), {x, buffer}); }

Val count_nonfinite(Tape& tape, std::span<const Val> x) {
  return tape.append(std::make_shared<CountNonfinite>(), std::vector<Val>(x.begin(), x.end()));
}

void adamw(Tape& tape, Val g, Val weight, Val nonfinite, Val theta, Val m, Val v, Val segments,
           const AdamW& how) {
  tape.append(std::make_shared<AdamWOp>(how),
              {as_role(tape, g, Role::parameter), as_role(tape, weight, Role::statistic), nonfinite,
               theta, m, v, segments, step_state(tape)});
}

void sgd(Tape& tape, Val g, Val weight, Val nonfinite, Val theta, Val v, Val segments,
         const Sgd& how) {
  tape.append(std::make_shared<SgdOp>(how),
              {as_role(tape, g, Role::parameter), as_role(tape, weight, Role::statistic), nonfinite,
               theta, v, segments, step_state(tape)});
}

void lars(Tape& tape, Val g, Val weight, Val nonfinite, Val theta, Val v, Val segments,
          const Lars& how) {
  tape.append(std::make_shared<LarsOp>(how),
              {as_role(tape, g, Role::parameter), as_role(tape, weight, Role::statistic), nonfinite,
               theta, v, segments, step_state(tape)});
}

}  // namespace fulmar::ops
