#include "bench/kernels/kernel_bench.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "bench/kernels/measure.h"
#include "kernels/bf16.h"
#include "kernels/error.h"

namespace fulmar::bench {
namespace {

using op_table::Case;
using op_table::Operand;

template <class T, class Convert>
std::vector<std::byte> drawn(const Operand& operand, const Convert& convert) {
  // A prime number of values, over and over: a large operand is made at the speed of memory.
  constexpr int64_t period = 65521;
  const int64_t count = operand.info.shape.elements();
  const int64_t first = operand.draw ? std::min(period, count) : count;
  if (!operand.draw && static_cast<int64_t>(operand.values.size()) != count)
    usage_error("operand '" + operand.name + "' has no values");
  std::vector<std::byte> bytes(static_cast<size_t>(count) * sizeof(T));
  for (int64_t i = 0; i < first; i++) {
    const T value =
        convert(operand.draw ? operand.draw(i) : operand.values[static_cast<size_t>(i)]);
    std::memcpy(bytes.data() + static_cast<size_t>(i) * sizeof(T), &value, sizeof(T));
  }
  for (size_t done = static_cast<size_t>(first) * sizeof(T); done < bytes.size();) {
    const size_t more = std::min(static_cast<size_t>(first) * sizeof(T), bytes.size() - done);
    std::memcpy(bytes.data() + done, bytes.data(), more);
    done += more;
  }
  return bytes;
}

template <class T>
std::vector<std::byte> drawn_as(const Operand& operand) {
  return drawn<T>(operand, [](double value) { return static_cast<T>(value); });
}

// The operand as an array of `type`.
std::vector<std::byte> bytes_of(const Operand& operand, DType type) {
  if (!operand.bytes.empty()) return operand.bytes;
  switch (type) {
    case DType::f32:
      return drawn_as<float>(operand);
    case DType::f64:
      return drawn_as<double>(operand);
    case DType::bf16:
      return drawn<bf16>(operand, [](double value) { return to_bf16(static_cast<float>(value)); });
    case DType::u8:
      return drawn_as<uint8_t>(operand);
    case DType::u16:
      return drawn_as<uint16_t>(operand);
    case DType::i32:
      return drawn_as<int32_t>(operand);
  }
  usage_error("operand '" + operand.name + "' has a type without values");
}

bool begins_with(std::string_view text, std::string_view part) {
  return text.substr(0, part.size()) == part;
}

Kernel kernel_of(const Case& row, const Recorded& recorded, int index) {
  const Node& node = recorded.tape->node(index);
  const auto op = std::string(node.op->name());
  Kernel kernel;
  kernel.node = index;
  // A dense layer is a 1x1 convolution.
  kernel.own =
      begins_with(op, row.op == "dense" ? "conv2d" : row.op) || row.op == "batch_norm_train";
  kernel.name = op + "/" + (begins_with(op, row.op) ? "" : row.op + ", ") + row.what;
  std::vector<ValueInfo> in;
  std::vector<Val> seen;
  for (const Val x : node.inputs) {
    in.push_back(x ? recorded.tape->info(x) : ValueInfo{{}, Role::activation, DType::f32});
    if (!x || std::find(seen.begin(), seen.end(), x) != seen.end()) continue;
    seen.push_back(x);
    kernel.shapes += (kernel.shapes.empty() ? "" : ", ") + in.back().shape.to_string();
    double times = 1;
    for (size_t i = 0; i < recorded.inputs.size(); i++) {
      if (recorded.inputs[i] != x) continue;
      if (i == 0) times = row.reads;
      if (recorded.operands[i].updated && node.op->updates_state()) times = 2;
    }
    kernel.traffic.push_back({in.back(), times});
  }
  for (size_t i = 0; i < node.outputs.size(); i++) {
    kernel.shapes += (i == 0 ? " -> " : ", ") + node.outputs[i].shape.to_string();
    kernel.traffic.push_back({node.outputs[i], 1});
  }
  kernel.flops = node.op->flops(in, node.outputs);
  return kernel;
}

}  // namespace

double Kernel::bytes(const Device& device) const {
  double sum = 0;
  for (const Traffic& t : traffic)
    sum += t.times *
           static_cast<double>(view_of(nullptr, t.info.shape, type_on(device, t.info)).bytes());
  return sum;
}

Recorded record(const Case& row) {
  Recorded r;
  r.tape = std::make_shared<Tape>();
  r.operands = row.operands;
  std::vector<Val> wrt;
  for (const Operand& operand : row.operands) {
    r.inputs.push_back(ops::input(*r.tape, operand.name, operand.info));
    if (operand.differentiable) wrt.push_back(r.inputs.back());
  }
  const std::vector<Val> outputs = row.build(*r.tape, r.inputs);
  if (!outputs.empty() && !wrt.empty()) {
    Operand cotangent = op_table::real("cotangent", r.tape->shape(outputs[0]));
    cotangent.info = r.tape->info(outputs[0]);
    r.operands.push_back(cotangent);
    r.inputs.push_back(ops::input(*r.tape, cotangent.name, cotangent.info));
    grad(*r.tape, outputs[0], wrt, r.inputs.back());
  }
  for (int i = 0; i < r.tape->size(); i++) {
    const Op& op = *r.tape->node(i).op;
    if (op.is_leaf() || (op.name() == "constant" && row.op != "constant")) continue;
    r.kernels.push_back(kernel_of(row, r, i));
  }
  return r;
}

PreparedRow::PreparedRow(Context& context, Device& device, const Case& row)
    : context_(context), device_(device), recorded_(record(row)) {
  double least = std::numeric_limits<double>::infinity();
  for (const Kernel& kernel : recorded_.kernels)
    if (const double bytes = kernel.bytes(device); kernel.own && bytes >= (1 << 20))
      least = std::min(least, bytes);
  constexpr double most_copies = 32;
  const auto copies =
      static_cast<int>(std::clamp(limits_of(device).rotated_bytes / least + 1, 1.0, most_copies));

  std::vector<Val> all;
  for (const Kernel& kernel : recorded_.kernels)
    for (size_t i = 0; i < recorded_.tape->node(kernel.node).outputs.size(); i++)
      all.push_back(Val{kernel.node, static_cast<int>(i)});
  std::vector<std::vector<std::byte>> bytes;
  for (const Operand& operand : recorded_.operands)
    bytes.push_back(bytes_of(operand, type_on(device, operand.info)));
  for (int copy = 0; copy < copies; copy++) {
    SessionOptions options;
    options.reuse = false;
    options.capture = false;
    copies_.emplace_back(context, device, recorded_.tape, all, nullptr, nullptr, options);
    Session& session = copies_.back();
    for (size_t i = 0; i < recorded_.inputs.size(); i++)
      session.set_bytes(recorded_.inputs[i], bytes[i].data(), bytes[i].size());
    session.run();
  }
  device.backend().synchronize(device.stream());
}

std::vector<Session> PreparedRow::sessions(const Kernel& kernel) {
  const Node& node = recorded_.tape->node(kernel.node);
  auto tape = std::make_shared<Tape>();
  std::vector<Val> inputs;
  for (size_t i = 0; i < node.inputs.size(); i++)
    inputs.push_back(node.inputs[i] ? ops::input(*tape, "x" + std::to_string(i),
                                                 recorded_.tape->info(node.inputs[i]))
                                    : Val{});
  const Val first = tape->append(node.op, inputs);
  std::vector<Val> outputs;
  for (size_t i = 0; i < node.outputs.size(); i++)
    outputs.push_back(Val{first.node, static_cast<int>(i)});
  std::vector<Session> sessions;
  for (Session& copy : copies_) {
    SessionOptions options;
    options.capture = false;  // rounds are captured whole
    sessions.emplace_back(context_, device_, tape, outputs, nullptr, nullptr, options);
    for (size_t i = 0; i < inputs.size(); i++)
      if (inputs[i]) sessions.back().bind(inputs[i], copy.view(node.inputs[i]));
  }
  return sessions;
}

}  // namespace fulmar::bench
