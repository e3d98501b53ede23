#include "model/scene_session.h"

#include <algorithm>
#include <string>

#include "kernels/error.h"
#include "model/program.h"

namespace fulmar::model {
namespace {

// Of parts along one axis there are a first, inner ones and a last.
constexpr size_t most_prepared = 9;

int64_t stride_of(const Call& call) {
  const bool pools = call.op == "max_pooling2d" || call.op == "average_pooling2d";
  for (const char* name : {"stride", pools ? "pool_size" : "stride"}) {
    const auto found = call.attributes.find(name);
    if (found == call.attributes.end()) continue;
    if (const auto* one = std::get_if<int64_t>(&found->second)) return *one;
    if (const auto* two = std::get_if<std::vector<int64_t>>(&found->second))
      return *std::max_element(two->begin(), two->end());
  }
  return pools ? 2 : 1;
}

bool strides(const Call& call) {
  return call.op == "max_pooling2d" || call.op == "average_pooling2d" || call.op == "conv2d" ||
         call.op == "depthwise_conv2d" || call.op == "separable_conv2d";
}

}  // namespace

int64_t coarsest_stride(const Network& network) {
  std::map<std::string, int64_t> reached;
  int64_t most = 1;
  for (const Call& call : network.calls()) {
    int64_t own = 1;
    // What is put beside finer values has their extents.
    if (!call.inputs.empty()) own = reached[call.inputs.back()];
    if (call.op == "upsampling2d") {
      const auto size = call.attributes.find("size");
      const auto* times =
          size == call.attributes.end() ? nullptr : std::get_if<int64_t>(&size->second);
      own = std::max<int64_t>(1, own / (times ? *times : 2));
    } else if (strides(call)) {
      own *= stride_of(call);
    }
    reached[call.name] = own;
    most = std::max(most, own);
  }
  return most;
}

std::vector<SceneSpan> scene_spans(int64_t extent, int64_t tile, int64_t halo, int64_t stride) {
  if (extent <= tile) return {{0, extent, 0, extent}};
  const int64_t around = (halo + stride - 1) / stride * stride;
  const int64_t core = (tile - 2 * around) / stride * stride;
  if (core < stride)
    usage_error("a tile of " + std::to_string(tile) + " pixels has no room for a halo of " +
                std::to_string(halo) + " on both sides and " + std::to_string(stride) +
                " pixels, the network's coarsest stride, of its own; take a larger tile or a "
                "smaller halo");
  std::vector<SceneSpan> spans;
  for (int64_t own = 0; own < extent; own += core) {
    const int64_t end = std::min(own + core, extent);
    spans.push_back({std::max<int64_t>(0, own - around), std::min(extent, end + around), own, end});
    // What is left is within what this part sees.
    if (spans.back().end == extent && extent - end <= around / 2) {
      spans.back().own_end = extent;
      break;
    }
  }
  return spans;
}

std::vector<TensorSpec> scene_tensors(const std::string& input, const TensorSpec& part) {
  TensorSpec samples = samples_spec(input, 1);
  samples.cuts = true;
  return {{input, part.type, part.shape}, samples};
}

struct SceneSession::Recorded {
  Program program;
  std::vector<Val> outputs;  // of the heads
};

struct SceneSession::Prepared {
  Prepared(Context& context, Device& device, const Recorded& recorded, const Shape& shape,
           Result which, Model* weights, const std::shared_ptr<Arena>& arena)
      : program(recorded.program),
        outputs(recorded.outputs),
        extents{shape.height(), shape.width()},
        result(which),
        session(context, device, program.tape, outputs, weights, arena) {}

  Program program;
  std::vector<Val> outputs;
  std::array<int64_t, 2> extents;
  Result result;
  Session session;
};

SceneSession::SceneSession(std::shared_ptr<const LoadedModel> model, Context& context,
                           Device& device)
    : model_(std::move(model)),
      context_(&context),
      device_(&device),
      stride_(coarsest_stride(model_->info().network)),
      arena_(std::make_shared<Arena>()) {
  const ModelInfo& info = model_->info();
  if (info.network.inputs().size() != 1 || info.preprocess.size() != 1)
    usage_error(model_->path() + ": its network takes other than one picture");
  if (info.picture().size != 0)
    usage_error(model_->path() +
                ": its pictures are resized, and parts of a scene keep their size");
}

SceneSession::~SceneSession() = default;

// Fill at a part's bottom and right makes its extents multiples of the coarsest stride: features
// are that far apart then, in a part that ends with the scene as in all others.
std::array<int64_t, 2> SceneSession::seen(const Shape& part) const {
  return {(part.height() + stride_ - 1) / stride_ * stride_,
          (part.width() + stride_ - 1) / stride_ * stride_};
}

SceneSession::Recorded SceneSession::record(const TensorSpec& part, Result result) const {
  const std::string input = model_->info().network.inputs()[0];
  ProgramOptions options;
  options.extents = seen(part.shape);
  Program program =
      record_program(model_->info(), model_->heads(), scene_tensors(input, part), options);
  const char* wanted = result == Result::classes ? "classes" : "probabilities";
  for (size_t i = 0; i < program.heads.size() && result == Result::probabilities; i++) {
    auto& results = program.heads[i].results;
    const auto values = std::find_if(results.begin(), results.end(),
                                     [](const auto& one) { return one.first == "values"; });
    results.emplace_back(
        wanted, values != results.end()
                    ? values->second
                    : ops::softmax(*program.tape, program.outputs.at(model_->heads()[i].output)));
  }
  Recorded recorded{fused(program, *device_, FuseFor::inference), {}};
  for (const model::Recorded& head : recorded.program.heads) {
    bool by_pixel = false;
    for (const auto& [name, value] : head.results) by_pixel |= name == "classes";
    for (const auto& [name, value] : head.results)
      if (by_pixel && name == wanted) recorded.outputs.push_back(value);
  }
  if (recorded.outputs.size() != model_->heads().size() || recorded.outputs.empty())
    usage_error(model_->path() + ": not all of its outputs give each pixel a class");
  return recorded;
}

uint64_t SceneSession::planned_bytes(const Shape& part, DType type, Result result) const {
  const Recorded recorded = record({"", type, part}, result);
  const Plan plan = make_plan(*recorded.program.tape, recorded.outputs, *device_);
  const auto elements = static_cast<uint64_t>(part.elements());
  return plan.arena_bytes + elements * size_of(type);
}

SceneSession::Prepared& SceneSession::prepare(const View& part, Result result) {
  const std::array<int64_t, 2> extents{part.shape.height(), part.shape.width()};
  const auto found = std::find_if(prepared_.begin(), prepared_.end(), [&](const auto& p) {
    return p->extents == extents && p->result == result;
  });
  if (found != prepared_.end()) {
    std::rotate(prepared_.begin(), found, found + 1);
    return *prepared_.front();
  }
  if (prepared_.size() >= most_prepared) prepared_.pop_back();
  auto prepared =
      std::make_unique<Prepared>(*context_, *device_, record({"", part.type, part.shape}, result),
                                 part.shape, result, &model_->weights(), arena_);
  return **prepared_.insert(prepared_.begin(), std::move(prepared));
}

SceneSession::Prepared& SceneSession::run(const View& part, Result result) {
  Prepared& p = prepare(part, result);
  WarpSample whole;
  whole.source_height = part.shape.height();
  whole.source_width = part.shape.width();
  p.session.set_bytes(p.program.inputs[0], part.data, part.bytes());
  p.session.set_bytes(p.program.inputs[1], &whole, sizeof whole);
  p.session.run();
  return p;
}

namespace {

// The first rows and columns of [rows,columns,channels], in place.
template <class T>
void keep_corner(std::vector<T>& values, int64_t height, int64_t width, int64_t columns,
                 int64_t channels) {
  for (int64_t row = 1; row < height && width < columns; row++)
    std::copy_n(values.begin() + row * columns * channels, width * channels,
                values.begin() + row * width * channels);
  values.resize(static_cast<size_t>(height * width * channels));
}

}  // namespace

std::vector<std::vector<uint8_t>> SceneSession::call(const View& part) {
  Prepared& p = run(part, Result::classes);
  const std::array<int64_t, 2> extents = seen(part.shape);
  std::vector<std::vector<uint8_t>> classes;
  for (const Val value : p.outputs) {
    std::vector<uint8_t> all(static_cast<size_t>(extents[0] * extents[1]));
    p.session.read_bytes(value, std::as_writable_bytes(std::span(all)));
    keep_corner(all, part.shape.height(), part.shape.width(), extents[1], 1);
    classes.push_back(std::move(all));
  }
  return classes;
}

const std::vector<std::vector<float>>& SceneSession::probabilities(const View& part) {
  Prepared& p = run(part, Result::probabilities);
  probabilities_.resize(p.outputs.size());
  for (size_t i = 0; i < p.outputs.size(); i++) {
    std::vector<float>& all = probabilities_[i];
    const Shape& shape = p.program.tape->shape(p.outputs[i]);
    all.resize(static_cast<size_t>(shape.elements()));
    p.session.read(p.outputs[i], all);
    keep_corner(all, part.shape.height(), part.shape.width(), shape.width(), shape.channels());
  }
  return probabilities_;
}

}  // namespace fulmar::model
