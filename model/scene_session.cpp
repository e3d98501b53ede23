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

std::vector<TensorSpec> scene_tensors(const std::string& input, const View& part) {
  TensorSpec samples = samples_spec(input, 1);
  samples.cuts = true;
  return {{input, part.type, part.shape}, samples};
}

struct SceneSession::Prepared {
  Prepared(Context& context, Device& device, const Program& p, const std::vector<Val>& outputs,
           Model* weights, const std::shared_ptr<Arena>& arena)
      : program(p), session(context, device, p.tape, outputs, weights, arena) {}

  Program program;
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

SceneSession::Prepared& SceneSession::prepare(const View& part) {
  const std::array<int64_t, 2> extents{part.shape.height(), part.shape.width()};
  const auto found = prepared_.find(extents);
  if (found != prepared_.end()) return *found->second;
  if (prepared_.size() >= most_prepared) prepared_.clear();
  const std::string input = model_->info().network.inputs()[0];
  ProgramOptions options;
  options.extents = seen(part.shape);
  const Program program =
      fused(record_program(model_->info(), model_->heads(), scene_tensors(input, part), options),
            *device_, FuseFor::inference);
  std::vector<Val> outputs;
  for (const Recorded& head : program.heads)
    for (const auto& [name, value] : head.results)
      if (name == "classes") outputs.push_back(value);
  if (outputs.size() != model_->heads().size() || outputs.empty())
    usage_error(model_->path() + ": not all of its outputs give each pixel a class");
  auto prepared =
      std::make_unique<Prepared>(*context_, *device_, program, outputs, &model_->weights(), arena_);
  return *prepared_.emplace(extents, std::move(prepared)).first->second;
}

std::vector<std::vector<uint8_t>> SceneSession::call(const View& part) {
  Prepared& p = prepare(part);
  WarpSample whole;
  whole.source_height = part.shape.height();
  whole.source_width = part.shape.width();
  p.session.set_bytes(p.program.inputs[0], part.data, part.bytes());
  p.session.set_bytes(p.program.inputs[1], &whole, sizeof whole);
  p.session.run();
  const std::array<int64_t, 2> extents = seen(part.shape);
  const int64_t height = part.shape.height(), width = part.shape.width();
  std::vector<std::vector<uint8_t>> classes;
  for (const Recorded& head : p.program.heads) {
    std::vector<uint8_t> all(static_cast<size_t>(extents[0] * extents[1]));
    for (const auto& [name, value] : head.results)
      if (name == "classes") p.session.read_bytes(value, std::as_writable_bytes(std::span(all)));
    for (int64_t row = 1; row < height && width < extents[1]; row++)
      std::copy_n(all.begin() + row * extents[1], width, all.begin() + row * width);
    all.resize(static_cast<size_t>(height * width));
    classes.push_back(std::move(all));
  }
  return classes;
}

}  // namespace fulmar::model
