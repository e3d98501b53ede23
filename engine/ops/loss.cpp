#include "engine/ops/loss.h"

#include <vector>

#include "engine/ops.h"
#include "engine/shape_rules.h"

namespace fulmar::ops {
namespace {

Shape per_pixel(const Shape& x) { return {x.images(), x.height(), x.width(), 1}; }

bool is_index_type(DType type) { return type == DType::u8 || type == DType::i32; }

Attributes described(const CrossEntropy& how) {
  return {{"label_smoothing", how.label_smoothing}, {"ignore_index", how.ignore_index}};
}

}  // namespace

std::vector<ValueInfo> Softmax::infer(std::span<const ValueInfo> in) const {
  require_rank4(in[0], "x");
  require(in[0].role != Role::sum, "takes float tensors");
  return {of_role(in[0].role, in[0].shape)};
}

std::vector<Val> Softmax::vjp(const Vjp& v) const {
  Tape& t = v.tape;
  const Val y = v.y[0], dy = v.dy[0];
  const Val mean = sum(t, mul(t, dy, y), per_pixel(t.shape(y)));
  return {mul(t, y, sub(t, dy, mean))};
}

void Softmax::run(Device& device, const RunArgs& args) const {
  device.backend().softmax(device.stream(), args.in[0], args.out[0]);
}

std::vector<ValueInfo> Argmax::infer(std::span<const ValueInfo> in) const {
  require_rank4(in[0], "x");
  require(in[0].role != Role::sum, "takes float tensors");
  const int64_t channels = in[0].shape[3];
  require(channels > 0, "x " + text(in[0].shape) + " has no channels");
  return {{per_pixel(in[0].shape), Role::index, channels <= 256 ? DType::u8 : DType::i32}};
}

void Argmax::run(Device& device, const RunArgs& args) const {
  device.backend().argmax(device.stream(), args.in[0], args.out[0]);
}

std::vector<ValueInfo> Confusion::infer(std::span<const ValueInfo> in) const {
  const Shape& pixels = in[0].shape;
  for (const ValueInfo& x : in.first(2))
    require(x.role == Role::index && is_index_type(x.type),
            "takes class indices, u8 or i32: the argmax of logits, and labels");
  require(pixels.rank() == 4 && pixels[3] == 1,
          "predicted must be [N,H,W,1], it is " + text(pixels));
  require_same(in[1], pixels, "labels");
  if (in[2].shape.rank() > 0) require_same(in[2], pixels, "pixel_weight");
  require(classes >= 1 && classes <= max_confusion_classes,
          text(classes) + " classes, 1 to " + text(max_confusion_classes) + " are possible");
  return {{Shape{classes, classes}, Role::sum, DType::f64}};
}

void Confusion::run(Device& device, const RunArgs& args) const {
  device.backend().confusion(device.stream(), args.in[0], args.in[1], args.in[2], args.out[0]);
}

std::vector<ValueInfo> SoftmaxCrossEntropyGrad::infer(std::span<const ValueInfo> in) const {
  return {of_role(in[0].role, in[0].shape)};
}

void SoftmaxCrossEntropyGrad::run(Device& device, const RunArgs& args) const {
  device.backend().softmax_cross_entropy_grad(device.stream(), args.in[0], args.in[1], args.in[2],
                                              args.in[3], args.in[4], args.out[0], how);
}

std::vector<ValueInfo> SoftmaxCrossEntropy::infer(std::span<const ValueInfo> in) const {
  require_rank4(in[0], "logits");
  require(in[0].role != Role::sum, "takes float tensors");
  require(how.label_smoothing >= 0 && how.label_smoothing < 1, "label smoothing must be in [0, 1)");
  const Shape rows = per_pixel(in[0].shape);
  const bool indices = !in[1].is_real();
  require(!indices || is_index_type(in[1].type), "class indices must be u8 or i32");
  require_same(in[1], indices ? rows : in[0].shape, "labels");
  if (in[2].shape.rank() > 0) require_same(in[2], Shape{in[0].shape[3]}, "class_weight");
  if (in[3].shape.rank() > 0) require_same(in[3], rows, "pixel_weight");
  return {of_role(Role::statistic, rows), of_role(Role::statistic, rows)};
}

std::vector<Val> SoftmaxCrossEntropy::vjp(const Vjp& v) const {
  require(!v.wanted[1] && !v.wanted[2] && !v.wanted[3], "has a gradient for its logits only");
  if (!v.dy[0]) return std::vector<Val>(4);  // the weights of rows don't depend on the logits
  return {v.tape.append(std::make_shared<SoftmaxCrossEntropyGrad>(how),
                        {v.x[0], v.x[1], v.x[2], v.x[3], v.dy[0]}),
          {},
          {},
          {}};
}

void SoftmaxCrossEntropy::run(Device& device, const RunArgs& args) const {
  device.backend().softmax_cross_entropy(device.stream(), args.in[0], args.in[1], args.in[2],
                                         args.in[3], args.out[0], args.out[1], how);
}

Attributes SoftmaxCrossEntropy::attributes() const { return described(how); }
Attributes SoftmaxCrossEntropyGrad::attributes() const { return described(how); }

Val softmax(Tape& tape, Val x) { return tape.append(std::make_shared<Softmax>(), {x}); }

Val argmax(Tape& tape, Val x) { return tape.append(std::make_shared<Argmax>(), {x}); }

Val confusion(Tape& tape, Val predicted, Val labels, int64_t classes, Val pixel_weight) {
  return tape.append(std::make_shared<Confusion>(classes),
                     {predicted, labels, as_role(tape, pixel_weight, Role::statistic)});
}

Loss softmax_cross_entropy(Tape& tape, Val logits, Val labels, const CrossEntropy& how,
                           Val class_weight, Val pixel_weight) {
  const auto statistic = [&](Val x) { return as_role(tape, x, Role::statistic); };
  const Val rows =
      tape.append(std::make_shared<SoftmaxCrossEntropy>(how),
                  {logits, statistic(labels), statistic(class_weight), statistic(pixel_weight)});
  const Val weights{rows.node, 1};
  const Val sum = sum_all(tape, rows), weight = sum_all(tape, weights);
  return {div_no_nan(tape, sum, weight), sum, weight, rows, weights};
}

}  // namespace fulmar::ops
