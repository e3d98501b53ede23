#include "engine/ops/shape.h"

#include <algorithm>

#include "engine/ops.h"
#include "engine/shape_rules.h"

namespace fulmar::ops {
namespace {

// Whether each extent of `small` (aligned at the channels) is that of `large` or 1.
bool spreads_to(const Shape& small, const Shape& large) {
  return small.rank() <= large.rank() &&
         (small.images() == large.images() || small.images() == 1) &&
         (small.height() == large.height() || small.height() == 1) &&
         (small.width() == large.width() || small.width() == 1) &&
         (small.channels() == large.channels() || small.channels() == 1);
}

// Between roles of different types too, but for sums over pixels, which only some kernels take.
bool can_become(const ValueInfo& x, Role role) {
  return x.is_real() && x.role != Role::sum && role != Role::sum;
}

// The part of `whole` that begins at `begin` and has `shape`.
View part(const View& whole, std::array<int64_t, 4> begin, const Shape& shape) {
  View view = whole;
  view.shape = shape;
  const int64_t offset = begin[0] * whole.stride[0] + begin[1] * whole.stride[1] +
                         begin[2] * whole.stride[2] + begin[3];
  view.data =
      static_cast<std::byte*>(whole.data) + offset * static_cast<int64_t>(size_of(whole.type));
  return view;
}

bool fits(const Shape& shape, std::array<int64_t, 4> begin, const Shape& whole) {
  return shape.rank() == 4 && whole.rank() == 4 &&
         std::ranges::all_of(begin, [](int64_t b) { return b >= 0; }) &&
         begin[0] + shape.images() <= whole.images() &&
         begin[1] + shape.height() <= whole.height() && begin[2] + shape.width() <= whole.width() &&
         begin[3] + shape.channels() <= whole.channels();
}

}  // namespace

std::vector<ValueInfo> Broadcast::infer(std::span<const ValueInfo> x) const {
  require(can_become(x[0], y.role) && spreads_to(x[0].shape, y.shape),
          "x " + text(x[0].shape) + " can't be broadcast to " + text(y.shape));
  return {y};
}

std::vector<Val> Broadcast::vjp(const Vjp& v) const {
  const ValueInfo x = v.tape.info(v.x[0]);
  // A sum of another type is taken anew from its terms: so it is rounded once.
  const Node& made = v.tape.node(v.dy[0].node);
  const bool again = as<Sum>(made) && !same_type(x.role, v.tape.info(v.dy[0]).role);
  return {sum(v.tape, again ? made.inputs[0] : v.dy[0], x.shape, x.role)};
}

void Broadcast::run(Device& device, const RunArgs& args) const {
  const View &x = args.in[0], &y = args.out[0];
  if (x.shape == y.shape && x.type == y.type)
    device.backend().copy(device.stream(), x, y);
  else
    device.backend().broadcast(device.stream(), x, y);
}

std::vector<ValueInfo> Sum::infer(std::span<const ValueInfo> x) const {
  require(can_become(x[0], y.role) && spreads_to(y.shape, x[0].shape),
          "x " + text(x[0].shape) + " can't be summed to " + text(y.shape));
  return {y};
}

std::vector<Val> Sum::vjp(const Vjp& v) const {
  const ValueInfo x = v.tape.info(v.x[0]);
  return {broadcast(v.tape, v.dy[0], x.shape, x.role)};
}

void Sum::run(Device& device, const RunArgs& args) const {
  device.backend().reduce_sum(device.stream(), args.in[0], args.out[0]);
}

std::vector<ValueInfo> Slice::infer(std::span<const ValueInfo> x) const {
  require(fits(shape, begin, x[0].shape),
          "a part " + text(shape) + " at [" + text(begin[0]) + "," + text(begin[1]) + "," +
              text(begin[2]) + "," + text(begin[3]) + "] is not inside x " + text(x[0].shape));
  return {{shape, x[0].role, x[0].type}};
}

std::vector<Val> Slice::vjp(const Vjp& v) const {
  return {embed(v.tape, v.dy[0], begin, v.tape.shape(v.x[0]))};
}

void Slice::run(Device& device, const RunArgs& args) const {
  device.backend().copy(device.stream(), part(args.in[0], begin, shape), args.out[0]);
}

std::vector<ValueInfo> Embed::infer(std::span<const ValueInfo> x) const {
  require(fits(x[0].shape, begin, shape),
          "x " + text(x[0].shape) + " does not fit into " + text(shape));
  return {{shape, x[0].role, x[0].type}};
}

std::vector<Val> Embed::vjp(const Vjp& v) const {
  return {slice(v.tape, v.dy[0], begin, v.tape.shape(v.x[0]))};
}

void Embed::run(Device& device, const RunArgs& args) const {
  const Backend& backend = device.backend();
  if (args.in[0].shape != shape) backend.fill(device.stream(), args.out[0], 0);
  backend.copy(device.stream(), args.in[0], part(args.out[0], begin, args.in[0].shape));
}

std::vector<ValueInfo> Reshape::infer(std::span<const ValueInfo> x) const {
  require(x[0].shape.elements() == shape.elements(),
          "x " + text(x[0].shape) + " has not as many elements as " + text(shape));
  return {{shape, x[0].role, x[0].type}};
}

std::vector<Val> Reshape::vjp(const Vjp& v) const {
  return {reshape(v.tape, v.dy[0], v.tape.shape(v.x[0]))};
}

void Reshape::run(Device& device, const RunArgs& args) const {
  const View& x = args.in[0];
  if (x.data != args.out[0].data)
    device.backend().copy(device.stream(), view_of(x.data, shape, x.type), args.out[0]);
}

std::vector<ValueInfo> Transpose::infer(std::span<const ValueInfo> x) const {
  const Shape& shape = x[0].shape;
  require(shape.rank() == 2, "x must be a matrix, it is " + text(shape));
  return {{{shape[1], shape[0]}, x[0].role, x[0].type}};
}

std::vector<Val> Transpose::vjp(const Vjp& v) const { return {transpose(v.tape, v.dy[0])}; }

// As images of one channel: x is walked down its columns.
void Transpose::run(Device& device, const RunArgs& args) const {
  const View& y = args.out[0];
  const Shape rows{1, y.shape[0], y.shape[1], 1};
  View columns = view_of(args.in[0].data, rows, y.type);
  columns.stride = {y.shape.elements(), 1, y.shape[0]};
  device.backend().copy(device.stream(), columns, view_of(y.data, rows, y.type));
}

std::vector<ValueInfo> Concat::infer(std::span<const ValueInfo> x) const {
  require(!x.empty(), "needs at least one operand");
  Shape shape = x[0].shape;
  shape[3] = 0;
  for (const ValueInfo& info : x) {
    require_rank4(info, "an operand");
    Shape rest = info.shape;
    rest[3] = shape[3];
    require(rest == shape, "operands " + text(x[0].shape) + " and " + text(info.shape) +
                               " differ in more than their channels");
    require_role(info, x[0].role, "an operand");
    shape[3] += info.shape[3];
  }
  return {of_role(x[0].role, shape)};
}

std::vector<Val> Concat::vjp(const Vjp& v) const {
  std::vector<Val> dx;
  int64_t channel = 0;
  for (size_t i = 0; i < v.x.size(); i++) {
    const Shape& shape = v.tape.shape(v.x[i]);
    dx.push_back(v.wanted[i] ? slice(v.tape, v.dy[0], {0, 0, 0, channel}, shape) : Val{});
    channel += shape.channels();
  }
  return dx;
}

void Concat::run(Device& device, const RunArgs& args) const {
  int64_t channel = 0;
  for (const View& x : args.in) {
    device.backend().copy(device.stream(), x, part(args.out[0], {0, 0, 0, channel}, x.shape));
    channel += x.shape.channels();
  }
}

Attributes Slice::attributes() const {
  return {{"begin", std::vector<int64_t>(begin.begin(), begin.end())}};
}
Attributes Embed::attributes() const {
  return {{"begin", std::vector<int64_t>(begin.begin(), begin.end())}};
}

Val broadcast(Tape& tape, Val x, const Shape& shape, Role role) {
  if (tape.shape(x) == shape && same_type(tape.info(x).role, role)) return x;
  return tape.append(std::make_shared<Broadcast>(of_role(role, shape)), {x});
}

Val broadcast(Tape& tape, Val x, const Shape& shape) {
  return broadcast(tape, x, shape, tape.info(x).role);
}

// Leaves index and source tensors unchanged; the op rejects them.
Val as_role(Tape& tape, Val x, Role role) {
  if (!x || !tape.info(x).is_real()) return x;
  return broadcast(tape, x, tape.shape(x), role);
}

Val sum(Tape& tape, Val x, const Shape& shape, Role role) {
  if (tape.shape(x) == shape) return as_role(tape, x, role);
  return tape.append(std::make_shared<Sum>(of_role(role, shape)), {x});
}

Val sum(Tape& tape, Val x, const Shape& shape) { return sum(tape, x, shape, tape.info(x).role); }

Val sum_all(Tape& tape, Val x) {
  const Role role = tape.info(x).role;
  return sum(tape, x, {1}, role == Role::activation ? Role::statistic : role);
}

Val global_average_pool(Tape& tape, Val x) {
  const Shape& shape = tape.shape(x);
  require_rank4(tape.info(x), "x of global_average_pool");
  const int64_t area = shape.height() * shape.width();
  require(area > 0, "global_average_pool: x " + text(shape) + " has no pixels");
  const Val total = sum(tape, x, {shape.images(), 1, 1, shape.channels()});
  return affine(tape, total, 1.0 / static_cast<double>(area), 0);
}

Val concat(Tape& tape, std::span<const Val> x) {
  return tape.append(std::make_shared<Concat>(), in_one_role(tape, x));
}

Val reshape(Tape& tape, Val x, const Shape& shape) {
  if (tape.shape(x) == shape) return x;
  return tape.append(std::make_shared<Reshape>(shape), {x});
}

Val transpose(Tape& tape, Val x) { return tape.append(std::make_shared<Transpose>(), {x}); }

Val slice(Tape& tape, Val x, std::array<int64_t, 4> begin, const Shape& shape) {
  return tape.append(std::make_shared<Slice>(begin, shape), {x});
}

Val embed(Tape& tape, Val x, std::array<int64_t, 4> begin, const Shape& shape) {
  return tape.append(std::make_shared<Embed>(begin, shape), {x});
}

}  // namespace fulmar::ops
