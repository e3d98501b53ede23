#include "model/program.h"

#include "kernels/error.h"

namespace fulmar::model {
namespace {

Val input_of(Tape& tape, const TensorSpec& spec) {
  const bool real = spec.type == DType::f32 && spec.name != "image";
  const Role role = real ? Role::activation : spec.type == DType::i32 ? Role::index : Role::source;
  return ops::input(tape, spec.name, {spec.shape, role, spec.type});
}

}  // namespace

Program record_program(const Network& network, std::span<const TensorSpec> tensors,
                       const ProgramOptions& options) {
  Program p;
  p.tape = std::make_shared<Tape>();
  Tape& tape = *p.tape;
  for (const TensorSpec& spec : tensors) p.inputs.push_back(input_of(tape, spec));
  {
    const auto scope = tape.scope("preprocessing");
    p.input = ops::warp(tape, tape.find("image"), tape.find("image/samples"), options.height,
                        options.width, options.warp);
  }
  p.logits = record(network, tape, p.input, {options.mode, options.unbiased_running_variance});
  p.probabilities = ops::softmax(tape, p.logits);
  tape.name(p.probabilities, "probabilities");
  if (tape.has("label"))
    p.loss = ops::softmax_cross_entropy(tape, p.logits, tape.find("label"), options.loss, {},
                                        tape.has("weight") ? tape.find("weight") : Val{});
  return p;
}

}  // namespace fulmar::model
