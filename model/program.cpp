#include "model/program.h"

#include "kernels/error.h"

namespace fulmar::model {
namespace {

Val input_of(Tape& tape, const TensorSpec& spec) {
  const bool real = spec.type == DType::f32 && spec.name != "image";
  // Floats beside pictures are weights and soft labels of a loss.
  const Role role = real ? Role::statistic : spec.type == DType::i32 ? Role::index : Role::source;
  return ops::input(tape, spec.name, {spec.shape, role, spec.type});
}

}  // namespace

ProgramOptions program_options(const Preprocess& preprocess, Mode mode) {
  ProgramOptions options;
  options.mode = mode;
  options.height = options.width = preprocess.crop;
  options.warp = preprocess.warp_options();
  return options;
}

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
  // In float32 everywhere: in bf16 all that are near 1 would be equal.
  p.probabilities = ops::softmax(tape, ops::as_role(tape, p.logits, Role::statistic));
  tape.name(p.probabilities, "probabilities");
  // Of the tensors given: a layer may have such a name too.
  const auto given = [&](const char* name) {
    for (size_t i = 0; i < tensors.size(); i++)
      if (tensors[i].name == name) return p.inputs[i];
    return Val{};
  };
  if (const Val label = given("label"))
    p.loss = ops::softmax_cross_entropy(tape, p.logits, label, options.loss, {}, given("weight"));
  return p;
}

Model new_model(const Network& network, const Preprocess& preprocess, Device& device,
                std::optional<uint64_t> seed) {
  Tape tape;
  const Shape shape{1, preprocess.crop, preprocess.crop, preprocess.bands};
  record(network, tape, ops::input(tape, "input", {shape}), {Mode::train});
  return Model(device, tape, seed);
}

Model load_model(const Checkpoint& checkpoint, Device& device) {
  Model model = new_model(checkpoint.info().network, checkpoint.info().preprocess, device, {});
  checkpoint.restore(model);
  return model;
}

}  // namespace fulmar::model
