#include "kernels/cuda/cudnn.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <limits>

#include "kernels/error.h"

namespace fulmar::cuda::cudnn {
namespace {

constexpr int64_t max_knobs = 64;  // more than any engine has
constexpr int64_t alignment = 16;  // bytes, of every operand

cudnnDataType_t type_of(Precision precision) {
  return precision == Precision::bf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
}

// dims n, c, h, w of a tensor that lies as n, h, w, c
Descriptor tensor(int64_t number, const std::array<int64_t, 4>& dims, cudnnDataType_t type,
                  const std::string& about) {
  const std::array<int64_t, 4> strides{dims[1] * dims[2] * dims[3], 1, dims[1] * dims[3], dims[1]};
  Descriptor d(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  d.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, number, about);
  d.set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, type, about);
  d.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, alignment, about);
  d.set(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, dims.data(), about);
  d.set(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, strides.data(), about);
  d.finalize(about);
  return d;
}

std::array<int64_t, 4> dims_of(const Shape& s) {
  return {s.images(), s.channels(), s.height(), s.width()};
}

Descriptor convolution(const Window& window, const std::string& about) {
  const std::array<int64_t, 2> before{window.padding[0], window.padding[2]};
  const std::array<int64_t, 2> after{window.padding[1], window.padding[3]};
  Descriptor d(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  d.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT, about);
  d.set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, CUDNN_CROSS_CORRELATION,
        about);
  d.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, int64_t{2}, about);
  d.set(CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, window.dilation.data(), about);
  d.set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, window.stride.data(), about);
  d.set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, before.data(), about);
  d.set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, after.data(), about);
  d.finalize(about);
  return d;
}

// The attributes' names of an operation.
struct Names {
  cudnnBackendDescriptorType_t type;
  cudnnBackendAttributeName_t convolution, x, w, y, alpha, beta;
};
const Names& names_of(Product product) {
  static const Names names[] = {
      {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
       CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
       CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
       CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
       CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
      {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA},
      {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA}};
  return names[static_cast<int>(product)];
}

// Which of an engine's notes there are, of T.
template <class T>
std::vector<T> notes_of(const Descriptor& engine, cudnnBackendAttributeName_t name,
                        cudnnBackendAttributeType_t type, const std::string& about) {
  std::array<T, 32> notes{};
  int64_t count = 0;
  check(cudnnBackendGetAttribute(engine.get(), name, type, notes.size(), &count, notes.data()),
        "cudnnBackendGetAttribute of an engine's notes", about);
  return {notes.begin(), notes.begin() + std::min<int64_t>(count, notes.size())};
}

EngineConfig read(const Descriptor& config, const Descriptor& engine, const std::string& about) {
  EngineConfig read;
  read.engine = engine.get_int64(CUDNN_ATTR_ENGINE_GLOBAL_INDEX, about);
  std::vector<Descriptor> choices;
  std::vector<cudnnBackendDescriptor_t> handles;
  for (int64_t i = 0; i < max_knobs; i++) {
    choices.emplace_back(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR);
    handles.push_back(choices.back().get());
  }
  int64_t count = 0;
  check(cudnnBackendGetAttribute(config.get(), CUDNN_ATTR_ENGINECFG_KNOB_CHOICES,
                                 CUDNN_TYPE_BACKEND_DESCRIPTOR, max_knobs, &count, handles.data()),
        "cudnnBackendGetAttribute of an engine's knobs", about);
  for (int64_t i = 0; i < count; i++) {
    cudnnBackendKnobType_t type{};
    int64_t got = 0;
    check(
        cudnnBackendGetAttribute(handles[static_cast<size_t>(i)], CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE,
                                 CUDNN_TYPE_KNOB_TYPE, 1, &got, &type),
        "cudnnBackendGetAttribute of a knob", about);
    read.knobs.emplace_back(
        type, choices[static_cast<size_t>(i)].get_int64(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, about));
  }
  return read;
}

}  // namespace

std::string words(cudnnStatus_t status) {
  std::array<char, 1024> message{};
  cudnnGetLastErrorString(message.data(), message.size());
  std::string all = cudnnGetErrorString(status);
  if (message[0]) all += ": " + std::string(message.data());
  for (char& letter : all)
    if (letter == '\n') letter = ' ';
  return all;
}

void check(cudnnStatus_t status, const std::string& call, const std::string& about) {
  if (status != CUDNN_STATUS_SUCCESS)
    device_error("cuda: " + call + ": " + words(status) + (about.empty() ? "" : ": " + about));
}

bool is_unsupported(cudnnStatus_t status) {
  return CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_NOT_SUPPORTED;
}

Descriptor::Descriptor(cudnnBackendDescriptorType_t type) {
  check(cudnnBackendCreateDescriptor(type, &handle_),
        "cudnnBackendCreateDescriptor " + std::to_string(type), "");
}

Descriptor::~Descriptor() {
  if (handle_) cudnnBackendDestroyDescriptor(handle_);
}

void Descriptor::set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                     int64_t count, const void* values, const std::string& about) {
  check(cudnnBackendSetAttribute(handle_, name, type, count, values),
        "cudnnBackendSetAttribute " + std::to_string(name), about);
}

int64_t Descriptor::get_int64(cudnnBackendAttributeName_t name, const std::string& about) const {
  int64_t value = 0, count = 0;
  check(cudnnBackendGetAttribute(handle_, name, CUDNN_TYPE_INT64, 1, &count, &value),
        "cudnnBackendGetAttribute " + std::to_string(name), about);
  return value;
}

cudnnStatus_t Descriptor::try_finalize(const std::string& about) {
  const cudnnStatus_t status = cudnnBackendFinalize(handle_);
  if (!is_unsupported(status)) check(status, "cudnnBackendFinalize", about);
  return status;
}

void Descriptor::finalize(const std::string& about) {
  check(cudnnBackendFinalize(handle_), "cudnnBackendFinalize", about);
}

std::string EngineConfig::text() const {
  std::string text = "cudnn engine " + std::to_string(engine);
  for (size_t i = 0; i < knobs.size(); i++)
    text += (i == 0 ? " knobs " : ",") + std::to_string(knobs[i].first) + ":" +
            std::to_string(knobs[i].second);
  return text;
}

EngineConfig EngineConfig::parse(const std::string& text) {
  EngineConfig config;
  const char* at = text.c_str();
  int length = 0;
  bool good = std::sscanf(at, "cudnn engine %ld%n", &config.engine, &length) == 1;
  at += length;
  for (const char* before = " knobs "; good && *at; before = ",") {
    const std::string expected = std::string(before) + "%ld:%ld%n";
    int64_t type = 0, value = 0;
    length = 0;
    good = std::sscanf(at, expected.c_str(), &type, &value, &length) == 2 && length > 0;
    at += length;
    config.knobs.emplace_back(type, value);
  }
  // Numbers have one way to be written.
  if (!good || config.text() != text)
    file_error("cuda choices: \"" + text + "\" should read as \"" +
               EngineConfig{67, {{2, 4}, {13, 0}}}.text() + "\"");
  return config;
}

Target Target::of(cudnnHandle_t handle, int sm) { return {handle, sm, {}}; }

Target Target::described_by(const std::string& json, int sm) {
#if CUDNN_VERSION >= 90800
  const std::string about = "a GPU's properties";
  Target target;
  target.sm = sm;
  target.properties = Descriptor(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
  target.properties.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                        static_cast<int64_t>(json.size()), json.data(), about);
  target.properties.finalize(about);
  return target;
#else
  device_error("cuda: cuDNN describes GPUs by text from version 9.8 on: sm_" + std::to_string(sm) +
               ", " + json);
#endif
}

bool is_allowed(const std::vector<cudnnBackendNumericalNote_t>& notes, Precision precision,
                bool nondeterministic) {
  for (const cudnnBackendNumericalNote_t note : notes) switch (note) {
      case CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC:
        if (!nondeterministic) return false;
        break;
      case CUDNN_NUMERICAL_NOTE_TENSOR_CORE:  // of float32: rounded to TF32
        if (precision == Precision::fp32) return false;
        break;
      case CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS:
      case CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION:
      case CUDNN_NUMERICAL_NOTE_FFT:
      case CUDNN_NUMERICAL_NOTE_WINOGRAD:
      case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4:
      case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6:
      case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13:
        return false;
      default:
        break;
    }
  return true;
}

bool is_known_bad(Product product, int64_t engine, size_t version, int sm) {
  struct Row {
    Product product;
    int64_t engine;
    size_t from, to;  // versions, both included
    int sm;
  };
  constexpr size_t still = std::numeric_limits<size_t>::max();
  constexpr int any = 0;
  constexpr Row rows[] = {{Product::input_grad, 23, 8000, still, any},  // wrong numbers
                          {Product::forward, 23, 90800, 91500, any},
                          {Product::forward, 5, 92301, 92400, 86},    // other bits each time
                          {Product::forward, 58, 92300, still, 120},  // illegal memory accesses
                          {Product::input_grad, 63, 92300, still, 120},
                          {Product::weight_grad, 63, 92300, still, 120}};
  return std::any_of(std::begin(rows), std::end(rows), [&](const Row& r) {
    return r.product == product && r.engine == engine && r.from <= version && version <= r.to &&
           (r.sm == any || r.sm == sm);
  });
}

ConvolutionGraph::ConvolutionGraph(const DenseProblem& problem, const Target& target,
                                   std::string& why_not)
    : product_(problem.product),
      precision_(problem.precision),
      about_(problem.text()),
      target_(target) {
  const cudnnDataType_t type = type_of(problem.precision);
  const Shape& filters = problem.w;
  x_ = tensor(x, dims_of(problem.x), type, about_);
  w_ = tensor(w, {filters.channels(), filters.width(), filters.images(), filters.height()}, type,
              about_);
  y_ = tensor(y, dims_of(problem.y), type, about_);
  convolution_ = convolution(problem.window, about_);

  const Names& names = names_of(problem.product);
  operation_ = Descriptor(names.type);
  operation_.set(names.convolution, convolution_, about_);
  operation_.set(names.x, x_, about_);
  operation_.set(names.w, w_, about_);
  operation_.set(names.y, y_, about_);
  operation_.set(names.alpha, CUDNN_TYPE_FLOAT, 1.0f, about_);
  operation_.set(names.beta, CUDNN_TYPE_FLOAT, 0.0f, about_);
  const cudnnStatus_t status = operation_.try_finalize(about_);
  if (status != CUDNN_STATUS_SUCCESS) {
    why_not = words(status);
    return;
  }
  Descriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, operation_, about_);
  if (target.handle)
    graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, target.handle, about_);
  const cudnnStatus_t finalized = graph.try_finalize(about_);
  if (finalized != CUDNN_STATUS_SUCCESS) {
    why_not = words(finalized);
    return;
  }
  graph_ = std::move(graph);
}

std::vector<EngineConfig> ConvolutionGraph::proposals(cudnnBackendHeurMode_t mode,
                                                      bool nondeterministic) const {
  Descriptor heuristic(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristic.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph_, about_);
  heuristic.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, mode, about_);
#if CUDNN_VERSION >= 90800
  if (!target_.handle) heuristic.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, target_.properties, about_);
#endif
  if (heuristic.try_finalize(about_) != CUDNN_STATUS_SUCCESS) return {};
  const auto results = [&](int64_t asked, void* into) {
    int64_t count = 0;
    check(cudnnBackendGetAttribute(heuristic.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                   CUDNN_TYPE_BACKEND_DESCRIPTOR, asked, &count, into),
          "cudnnBackendGetAttribute of a heuristic's results", about_);
    return count;
  };
  std::vector<Descriptor> configs;
  std::vector<cudnnBackendDescriptor_t> handles;
  for (int64_t count = results(0, nullptr); count > 0; count--) {
    configs.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    handles.push_back(configs.back().get());
  }
  if (handles.empty()) return {};
  const int64_t count = results(static_cast<int64_t>(handles.size()), handles.data());

  std::vector<EngineConfig> allowed;
  for (size_t i = 0; i < static_cast<size_t>(count); i++) {
    Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    cudnnBackendDescriptor_t handle = engine.get();
    int64_t got = 0;
    check(cudnnBackendGetAttribute(configs[i].get(), CUDNN_ATTR_ENGINECFG_ENGINE,
                                   CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &got, &handle),
          "cudnnBackendGetAttribute of an engine", about_);
    const auto notes = notes_of<cudnnBackendNumericalNote_t>(
        engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, about_);
    // Those that are compiled at run time take seconds to make.
    const auto behaviour = notes_of<cudnnBackendBehaviorNote_t>(
        engine, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE, about_);
    if (!is_allowed(notes, precision_, nondeterministic) ||
        std::find(behaviour.begin(), behaviour.end(), CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION) !=
            behaviour.end())
      continue;
    EngineConfig config = read(configs[i], engine, about_);
    if (!is_known_bad(product_, config.engine, cudnnGetVersion(), target_.sm))
      allowed.push_back(std::move(config));
  }
  return allowed;
}

ExecutionPlan ConvolutionGraph::plan(const EngineConfig& wanted, std::string& why_not) const {
  const std::string about = wanted.text() + " for " + about_;
  const auto unsupported = [&](Descriptor& descriptor) {
    const cudnnStatus_t status = descriptor.try_finalize(about);
    if (status != CUDNN_STATUS_SUCCESS) why_not = words(status);
    return status != CUDNN_STATUS_SUCCESS;
  };
  Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  engine.set(CUDNN_ATTR_ENGINE_OPERATION_GRAPH, graph_, about);
  engine.set(CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, wanted.engine, about);
#if CUDNN_VERSION >= 90800
  if (!target_.handle) engine.set(CUDNN_ATTR_ENGINE_DEVICEPROP, target_.properties, about);
#endif
  if (unsupported(engine)) return {};

  std::vector<Descriptor> choices;
  std::vector<cudnnBackendDescriptor_t> handles;
  for (const auto& [type, value] : wanted.knobs) {
    choices.emplace_back(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR);
    choices.back().set(CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE,
                       static_cast<cudnnBackendKnobType_t>(type), about);
    choices.back().set(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64, value, about);
    choices.back().finalize(about);
    handles.push_back(choices.back().get());
  }
  Descriptor config(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
  config.set(CUDNN_ATTR_ENGINECFG_ENGINE, engine, about);
  if (!handles.empty())
    config.set(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_TYPE_BACKEND_DESCRIPTOR,
               static_cast<int64_t>(handles.size()), handles.data(), about);
  if (unsupported(config)) return {};

  Descriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
  plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config, about);
  if (target_.handle)
    plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, target_.handle, about);
#if CUDNN_VERSION >= 90800
  else
    plan.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, target_.properties, about);
#endif
  if (unsupported(plan)) return {};
  return {std::move(engine), std::move(config), std::move(plan)};
}

}  // namespace fulmar::cuda::cudnn
