#include "model/model_session.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "engine/feeder.h"
#include "engine/picture/geometry.h"
#include "engine/turn.h"
#include "kernels/bf16.h"
#include "kernels/error.h"
#include "model/program.h"

namespace fulmar::model {
namespace {

constexpr size_t prepared_shapes = 4;

std::string describe(const HostTensor& tensor) {
  return tensor.shape.to_string() + " " + name_of(tensor.type);
}

// Extents and strides without the axes of extent 1, of which no stride matters.
struct Walk {
  std::array<int64_t, Shape::max_rank> extent{1, 1, 1, 1}, stride{};  // right-aligned
  std::vector<int64_t> kept;

  explicit Walk(const HostTensor& tensor) {
    int at = Shape::max_rank;
    for (int axis = tensor.shape.rank() - 1; axis >= 0; axis--) {
      if (tensor.shape[axis] == 1) continue;
      at--;
      extent[static_cast<size_t>(at)] = tensor.shape[axis];
      stride[static_cast<size_t>(at)] = tensor.stride[static_cast<size_t>(axis)];
    }
    kept.assign(extent.begin() + at, extent.end());
  }

  // Calls body(element number, element's place), in row-major order.
  template <class Body>
  void each(const Body& body) const {
    int64_t number = 0;
    for (int64_t a = 0; a < extent[0]; a++)
      for (int64_t b = 0; b < extent[1]; b++)
        for (int64_t c = 0; c < extent[2]; c++) {
          const int64_t base = a * stride[0] + b * stride[1] + c * stride[2];
          for (int64_t d = 0; d < extent[3]; d++) body(number++, base + d * stride[3]);
        }
  }
};

bool same_but_for_ones(const HostTensor& tensor, const Shape& shape) {
  return Walk(tensor).kept == Walk(view_of(nullptr, shape, DType::f32)).kept;
}

// Row-major elements from or to any strides.
template <size_t bytes>
void pack(const HostTensor& from, std::byte* to) {
  const auto* data = static_cast<const std::byte*>(from.data);
  Walk(from).each([&](int64_t number, int64_t place) {
    std::memcpy(to + static_cast<size_t>(number) * bytes,
                data + place * static_cast<int64_t>(bytes), bytes);
  });
}
template <size_t bytes>
void unpack(const std::byte* from, const HostTensor& to) {
  auto* data = static_cast<std::byte*>(to.data);
  Walk(to).each([&](int64_t number, int64_t place) {
    std::memcpy(data + place * static_cast<int64_t>(bytes),
                from + static_cast<size_t>(number) * bytes, bytes);
  });
}
template <class To, class Number>
void unpack_numbers(const Number& number_at, const HostTensor& to) {
  auto* data = static_cast<std::byte*>(to.data);
  Walk(to).each([&](int64_t number, int64_t place) {
    const auto value = static_cast<To>(number_at(number));
    std::memcpy(data + place * static_cast<int64_t>(sizeof(To)), &value, sizeof(To));
  });
}
template <class From>
void unpack_from(const std::byte* from, const HostTensor& to) {
  const auto number_at = [&](int64_t number) {
    From value;
    std::memcpy(&value, from + static_cast<size_t>(number) * sizeof(From), sizeof(From));
    if constexpr (std::is_same_v<From, bf16>)
      return to_float(value);
    else
      return value;
  };
  if (to.type == DType::f64)
    unpack_numbers<double>(number_at, to);
  else
    unpack_numbers<float>(number_at, to);
}

void pack_any(const HostTensor& from, std::byte* to) {
  switch (size_of(from.type)) {
    case 1:
      return pack<1>(from, to);
    case 2:
      return pack<2>(from, to);
    case 4:
      return pack<4>(from, to);
    default:
      return pack<8>(from, to);
  }
}

void unpack_any(const View& from, const HostTensor& to) {
  const auto* bytes = from.as<const std::byte>();
  if (from.type == to.type && size_of(to.type) == 8) return unpack<8>(bytes, to);
  if (from.type == to.type && size_of(to.type) == 4) return unpack<4>(bytes, to);
  if (from.type == to.type && size_of(to.type) == 1) return unpack<1>(bytes, to);
  if (from.type == DType::f64) return unpack_from<double>(bytes, to);
  if (from.type == DType::bf16) return unpack_from<bf16>(bytes, to);
  return unpack_from<float>(bytes, to);
}

}  // namespace

HostTensor::HostTensor(const View& view) : data(view.data), type(view.type), shape(view.shape) {
  for (int axis = 0; axis < shape.rank(); axis++) {
    const int aligned = axis + Shape::max_rank - shape.rank();
    stride[static_cast<size_t>(axis)] = aligned < 3 ? view.stride[static_cast<size_t>(aligned)] : 1;
  }
}

bool HostTensor::is_contiguous() const {
  int64_t next = 1;
  for (int axis = shape.rank() - 1; axis >= 0; axis--) {
    if (shape[axis] != 1 && stride[static_cast<size_t>(axis)] != next) return false;
    next *= shape[axis];
  }
  return true;
}

struct ModelSession::Prepared {
  struct Input {
    Shape shape;
    DType type;
    Val value, samples;  // `samples` empty: no pictures
    std::vector<WarpSample> places{};
  };
  std::vector<Input> inputs;  // in the order of the model's
  Program program;
  std::vector<Val> outputs;  // in the order of the model's
  std::unique_ptr<Session> session;

  bool fits(std::span<const HostTensor> given) const {
    return std::equal(
        inputs.begin(), inputs.end(), given.begin(), given.end(),
        [](const Input& i, const HostTensor& t) { return i.shape == t.shape && i.type == t.type; });
  }
};

ModelSession::ModelSession(std::shared_ptr<const LoadedModel> model, int threads)
    : model_(std::move(model)),
      own_(std::make_unique<Context>(Context::Options{.threads = threads})),
      context_(own_.get()),
      device_(&own_->device(model_->device().name(), model_->device().precision())),
      arena_(std::make_shared<Arena>()) {}

ModelSession::ModelSession(std::shared_ptr<const LoadedModel> model, Context& context,
                           Device& device)
    : model_(std::move(model)),
      context_(&context),
      device_(&device),
      arena_(std::make_shared<Arena>()) {
  const Device& loaded = model_->device();
  if (&loaded.backend() != &device.backend() || loaded.name() != device.name())
    usage_error(model_->path() + " was loaded onto " + loaded.describe() + ", its session is for " +
                device.describe() + ": load it there");
}

ModelSession::~ModelSession() = default;

void ModelSession::run(std::span<const HostTensor> inputs, std::span<const HostTensor> outputs) {
  run(inputs, outputs, {});
}

void ModelSession::run(std::span<const HostTensor> inputs, std::span<const HostTensor> outputs,
                       std::span<const std::span<const WarpSample>> samples) {
  const Turn turn(busy_, "a ModelSession");
  try {
    require_inputs(inputs);
    Prepared& p = prepare(inputs);
    require_outputs(p, outputs);
    sample_pictures(p, samples);
    for (size_t i = 0; i < inputs.size(); i++) set_input(p, i, inputs[i]);
    p.session->run();
    for (size_t i = 0; i < outputs.size(); i++)
      if (outputs[i].data) read_output(p, i, outputs[i]);
  } catch (const Error& error) {
    // The flag of a context that several share is their owner's to take down.
    if (error.kind() == ErrorKind::cancelled && own_) own_->cancel = false;
    throw;
  }
}

void ModelSession::require_inputs(std::span<const HostTensor> inputs) const {
  const std::vector<TensorInfo>& wanted = model_->inputs();
  if (inputs.size() != wanted.size())
    usage_error(std::to_string(inputs.size()) + " inputs given, the model " + model_->path() +
                " takes " + std::to_string(wanted.size()));
  for (size_t i = 0; i < inputs.size(); i++) {
    const TensorInfo& w = wanted[i];
    const HostTensor& given = inputs[i];
    const auto refuse = [&](const std::string& what) {
      usage_error("input '" + w.name + "' of " + model_->path() + ": " + describe(given) +
                  " given" + what);
    };
    const std::string expected =
        ", " + w.extents.to_string() + " " + name_of(w.type) +
        (w.pictures && w.type != DType::f32 ? ", or f32 in the same units, expected (-1: any)"
                                            : " expected (-1: any)");
    if (given.type != w.type && !(w.pictures && given.type == DType::f32)) refuse(expected);
    if (given.shape.rank() != w.extents.rank()) refuse(expected);
    int64_t elements = 1;
    for (int axis = 0; axis < given.shape.rank(); axis++) {
      const int64_t extent = given.shape[axis];
      if (extent < 1 || (w.extents[axis] >= 0 && w.extents[axis] != extent)) refuse(expected);
      if (__builtin_mul_overflow(elements, extent, &elements) || elements > Tape::max_elements)
        refuse(", which is too large");
    }
    if (!given.data) refuse(" by a null pointer");
    if (given.shape[0] != inputs[0].shape[0])
      refuse(", but input '" + wanted[0].name + "' is " + describe(inputs[0]) +
             ": the first extents must be equal");
  }
}

void ModelSession::require_outputs(const Prepared& p, std::span<const HostTensor> outputs) const {
  const std::vector<TensorInfo>& known = model_->outputs();
  if (outputs.size() > known.size())
    usage_error(std::to_string(outputs.size()) + " outputs asked for, the model " + model_->path() +
                " has " + std::to_string(known.size()));
  for (size_t i = 0; i < outputs.size(); i++) {
    const HostTensor& to = outputs[i];
    if (!to.data) continue;
    const TensorInfo& w = known[i];
    const Shape& shape = p.program.tape->shape(p.outputs[i]);
    const bool type_fits = to.type == w.type || (w.type == DType::f32 && to.type == DType::f64);
    if (!type_fits || !same_but_for_ones(to, shape))
      usage_error("output '" + w.name + "' of " + model_->path() + ": " + describe(to) +
                  " given, " + shape.to_string() + " " + name_of(w.type) +
                  (w.type == DType::f32 ? " or f64" : "") + " expected (ones may be left out)");
  }
}

ModelSession::Prepared& ModelSession::prepare(std::span<const HostTensor> inputs) {
  const auto known = std::find_if(prepared_.begin(), prepared_.end(),
                                  [&](const auto& p) { return p->fits(inputs); });
  if (known != prepared_.end()) {
    std::rotate(prepared_.begin(), known, known + 1);
    return *prepared_.front();
  }

  auto p = std::make_unique<Prepared>();
  std::vector<TensorSpec> tensors;
  for (size_t i = 0; i < inputs.size(); i++) {
    const TensorInfo& info = model_->inputs()[i];
    tensors.push_back({info.name, inputs[i].type, inputs[i].shape});
    if (info.pictures) tensors.push_back(samples_spec(info.name, inputs[i].shape.images()));
  }
  p->program = fused(record_program(model_->info(), model_->heads(), tensors, {Mode::eval}),
                     *device_, FuseFor::inference);
  size_t at = 0;
  for (size_t i = 0; i < inputs.size(); i++) {
    Prepared::Input input{inputs[i].shape, inputs[i].type, p->program.inputs[at++], {}};
    if (model_->inputs()[i].pictures) input.samples = p->program.inputs[at++];
    p->inputs.push_back(std::move(input));
  }
  for (const auto& [name, value] :
       named_outputs(p->program, model_->heads(), model_->info().network))
    p->outputs.push_back(value);
  p->session = std::make_unique<Session>(*context_, *device_, p->program.tape, p->outputs,
                                         &model_->weights(), arena_);
  prepared_.insert(prepared_.begin(), std::move(p));
  if (prepared_.size() > prepared_shapes) prepared_.pop_back();
  return *prepared_.front();
}

void ModelSession::sample_pictures(Prepared& p,
                                   std::span<const std::span<const WarpSample>> given) const {
  for (size_t i = 0; i < p.inputs.size(); i++) {
    Prepared::Input& input = p.inputs[i];
    if (!input.samples) continue;
    const std::string& name = model_->inputs()[i].name;
    const int64_t images = input.shape.images();
    if (i < given.size() && !given[i].empty()) {
      if (std::ssize(given[i]) != images)
        usage_error("input '" + name + "': " + std::to_string(given[i].size()) +
                    " samples given for pictures " + input.shape.to_string());
      input.places.assign(given[i].begin(), given[i].end());
    } else {
      try {
        input.places.assign(static_cast<size_t>(images),
                            centre_sample(model_->info().preprocess.at(name), input.shape.height(),
                                          input.shape.width()));
      } catch (const Error& error) {
        usage_error("input '" + name + "' of " + model_->path() + ": " + error.what());
      }
    }
    p.session->set_bytes(input.samples, input.places.data(),
                         input.places.size() * sizeof(WarpSample));
  }
}

void ModelSession::set_input(Prepared& p, size_t number, const HostTensor& from) {
  const Prepared::Input& input = p.inputs[number];
  View view = view_of(from.data, from.shape, from.type);
  if (!from.is_contiguous()) {
    scratch_.resize(view.bytes());
    pack_any(from, scratch_.data());
    view.data = scratch_.data();
  }
  fulmar::set_input(*p.session, input.value, view);
}

void ModelSession::read_output(Prepared& p, size_t number, const HostTensor& to) {
  const View from = p.session->view(p.outputs[number]);
  const bool direct = from.type == to.type && to.is_contiguous();
  if (!direct) scratch_.resize(from.bytes());
  auto* bytes = direct ? static_cast<std::byte*>(to.data) : scratch_.data();
  p.session->fetch(p.outputs[number], bytes);
  p.session->await(p.session->mark());
  if (!direct) unpack_any(view_of(bytes, from.shape, from.type), to);
}

}  // namespace fulmar::model
