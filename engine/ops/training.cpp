#include <vector>

#include "engine/ops.h"
#include "engine/ops/check.h"

namespace fulmar::ops {
namespace {

const StepState* as_step_state(const View& view) { return view.as<const StepState>(); }

// x, step state -> y; linear in x, so that it is its own gradient.
class Dropout : public Op {
 public:
  Dropout(double rate, uint64_t id) : rate_(rate), id_(id) {}
  std::string_view name() const override { return "dropout"; }
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override {
    require(rate_ >= 0 && rate_ < 1, "the rate must be in [0, 1)");
    return {activation(in[0].shape)};
  }
  std::vector<Val> vjp(const Vjp& v) const override {
    return {v.tape.append(std::make_shared<Dropout>(rate_, id_), {v.dy[0], v.x[1]}), {}};
  }
  void run(Device& device, const RunArgs& args) const override {
    device.backend().dropout(device.stream(), args.in[0], args.out[0], as_step_state(args.in[1]),
                             rate_, id_);
  }

 private:
  double rate_;
  uint64_t id_;
};

// The elements [begin, begin + shape.elements()) of a flat buffer.
View segment(const View& flat, int64_t begin, const Shape& shape) {
  auto* data =
      static_cast<std::byte*>(flat.data) + begin * static_cast<int64_t>(size_of(flat.type));
  return view_of(data, shape, flat.type);
}

class Join : public Op {
 public:
  Join(std::vector<int64_t> offsets, int64_t size) : offsets_(std::move(offsets)), size_(size) {}
  std::string_view name() const override { return "join"; }
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override {
    require(in.size() == offsets_.size(), "needs an offset for each operand");
    int64_t end = 0;
    for (size_t i = 0; i < in.size(); i++) {
      require(in[i].is_real() && offsets_[i] >= end,
              "operands must be float tensors in order of their offsets, without overlap");
      require_role(in[i], Role::parameter, "an operand");
      end = offsets_[i] + in[i].shape.elements();
    }
    require(end <= size_, "operands end at " + text(end) + ", the flat value at " + text(size_));
    return {of_role(Role::parameter, Shape{size_})};
  }
  int64_t join_offset(int input) const override { return offsets_[static_cast<size_t>(input)]; }
  void run(Device& device, const RunArgs& args) const override {
    const Backend& backend = device.backend();
    int64_t end = 0;
    const auto zero_until = [&](int64_t begin) {
      if (begin > end) backend.fill(device.stream(), segment(args.out[0], end, {begin - end}), 0);
    };
    for (size_t i = 0; i < args.in.size(); i++) {
      const View to = segment(args.out[0], offsets_[i], args.in[i].shape);
      if (args.in[i].data != to.data) backend.copy(device.stream(), args.in[i], to);
      zero_until(offsets_[i]);
      end = offsets_[i] + to.shape.elements();
    }
    zero_until(size_);
  }

 private:
  std::vector<int64_t> offsets_;
  int64_t size_;
};

// g, sum (in place), step state
class Accumulate : public Op {
 public:
  std::string_view name() const override { return "accumulate"; }
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override {
    require_same(in[1], in[0].shape, "the sum");
    return {};
  }
  bool updates_state() const override { return true; }
  void run(Device& device, const RunArgs& args) const override {
    device.backend().accumulate(device.stream(), args.in[0], args.in[1], as_step_state(args.in[2]));
  }
};

// g, theta, m, v (in place), segments, step state
class AdamWOp : public Op {
 public:
  explicit AdamWOp(const AdamW& how) : how_(how) {}
  std::string_view name() const override { return "adamw"; }
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override {
    const char* names[] = {"g", "theta", "m", "v"};
    for (size_t i = 1; i < 4; i++) require_same(in[i], in[0].shape, names[i]);
    return {};
  }
  bool updates_state() const override { return true; }
  void run(Device& device, const RunArgs& args) const override {
    const View& table = args.in[4];
    const auto count = table.shape.elements() / static_cast<int64_t>(sizeof(Segment));
    device.backend().adamw(device.stream(), args.in[0], args.in[1], args.in[2], args.in[3],
                           table.as<const Segment>(), count, as_step_state(args.in[5]), how_);
  }

 private:
  AdamW how_;
};

Val step_state(Tape& tape) { return buffer(tape, "/step_state", step_state_info()); }

}  // namespace

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

void adamw(Tape& tape, Val g, Val theta, Val m, Val v, Val segments, const AdamW& how) {
  tape.append(std::make_shared<AdamWOp>(how),
              {as_role(tape, g, Role::parameter), theta, m, v, segments, step_state(tape)});
}

}  // namespace fulmar::ops
