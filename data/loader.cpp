#include "data/loader.h"

#include <atomic>
#include <string>
#include <utility>

#include "engine/picture/geometry.h"
#include "kernels/error.h"

namespace fulmar::data {

namespace {

// Whether the preprocessing makes any picture larger or smaller.
bool resizes(const Pictures& pictures, const Preprocess& preprocess) {
  if (preprocess.size == 0) return false;
  for (int64_t i = 0; i < pictures.count(); i++) {
    const ImageHeader& header = pictures.header(i);
    if (header.height != preprocess.size || header.width != preprocess.size) return true;
  }
  return false;
}

// Whole pictures with a label each.
class PictureFiller : public BatchFiller {
 public:
  PictureFiller(std::shared_ptr<const Pictures> pictures, std::vector<int32_t> labels,
                std::unique_ptr<Sampler> sampler, const Preprocess& preprocess,
                const LoaderOptions& options);

  const std::vector<TensorSpec>& tensors() const override { return specs_; }
  int64_t batches_per_epoch() const override { return sampler_->batches_per_epoch(); }
  int64_t sample_count() const override { return pictures_->count(); }
  void leave_out(size_t tensor) override {
    if (specs_[tensor].name == "image") without_pictures_ = true;
  }
  void start(bool calibrating) override { calibrating_ = calibrating; }
  std::vector<int64_t> choose(int64_t epoch, int64_t number) override {
    return sampler_->batch(epoch, number);
  }
  void fill(std::span<const View> tensors, size_t place, int64_t picture, int64_t epoch,
            int64_t number) override;
  void clear(std::span<const View> tensors, size_t place) override;
  int64_t parts_ahead() const override { return pictures_->count(); }
  void work_ahead(int64_t picture) override { pictures_->decode_ahead(picture); }

 private:
  enum : size_t { image, samples, label, weight };  // tensors

  std::shared_ptr<const Pictures> pictures_;
  std::vector<int32_t> labels_;
  std::unique_ptr<Sampler> sampler_;
  Preprocess preprocess_;
  LoaderOptions options_;
  std::vector<TensorSpec> specs_;
  std::atomic<bool> without_pictures_{false};  // the caller has them
  bool calibrating_ = false;
};

void require_fit(const Pictures& pictures, const std::vector<int32_t>& labels,
                 const Preprocess& preprocess, const LoaderOptions& options) {
  if (options.batch < 1 || options.threads < 1 || options.ready < 1)
    usage_error("a loader needs a batch, threads and ready batches of at least 1 each");
  if (!labels.empty() && static_cast<int64_t>(labels.size()) != pictures.count())
    usage_error(std::to_string(labels.size()) + " labels for " + std::to_string(pictures.count()) +
                " pictures");
  if (pictures.bands() != preprocess.bands)
    usage_error("the pictures have " + std::to_string(pictures.bands()) +
                " bands, the preprocessing record says " + std::to_string(preprocess.bands));
  const std::string kind = kind_misfit(preprocess, pictures.header(0));
  if (!kind.empty()) file_error(pictures.path(0) + ": " + kind);
  if (options.augment) options.augment->check();
  for (int64_t i = 0; i < pictures.count(); i++) {
    const ImageHeader& header = pictures.header(i);
    const std::string reason = misfit(preprocess, header.height, header.width);
    if (!reason.empty()) file_error(pictures.path(i) + ": " + reason);
  }
}

PictureFiller::PictureFiller(std::shared_ptr<const Pictures> pictures, std::vector<int32_t> labels,
                             std::unique_ptr<Sampler> sampler, const Preprocess& preprocess,
                             const LoaderOptions& options)
    : pictures_(std::move(pictures)),
      labels_(std::move(labels)),
      sampler_(std::move(sampler)),
      preprocess_(preprocess),
      options_(options) {
  require_fit(*pictures_, labels_, preprocess_, options_);
  const int64_t n = options_.batch;
  specs_ = {{"image",
             pictures_->type(),
             {n, pictures_->max_height(), pictures_->max_width(), pictures_->bands()},
             true},
            {"image/samples", DType::u8, {n, static_cast<int64_t>(sizeof(WarpSample))}}};
  specs_[samples].cuts = !options_.augment && !resizes(*pictures_, preprocess_);
  if (!labels_.empty()) {
    specs_.push_back({"label", DType::i32, {n, 1, 1, 1}});
    specs_.push_back({"weight", DType::f32, {n, 1, 1, 1}});
  }
}

void PictureFiller::fill(std::span<const View> tensors, size_t place, int64_t picture,
                         int64_t epoch, int64_t number) {
  const ImageHeader& header = pictures_->header(picture);
  const View& slots = tensors[image];
  const auto bytes = static_cast<int64_t>(slots.bytes()) / options_.batch;
  if (!without_pictures_)
    pictures_->copy(picture,
                    static_cast<uint8_t*>(slots.data) + static_cast<int64_t>(place) * bytes,
                    bytes / slots.shape.height());
  AugmentDraw drawn;
  if (options_.augment) {
    const int64_t in_epoch = number * options_.batch + static_cast<int64_t>(place);
    drawn = draw_augment(*options_.augment, options_.seed, epoch, in_epoch);
  }
  WarpSample& sample = static_cast<WarpSample*>(tensors[samples].data)[place];
  if (options_.augment && !calibrating_) {
    sample = augmented_sample(preprocess_, header.height, header.width, drawn);
  } else {
    sample = pictures_->centre(picture, preprocess_);
    sample.gain = drawn.gain;
  }
  if (labels_.empty()) return;
  static_cast<int32_t*>(tensors[label].data)[place] = labels_[static_cast<size_t>(picture)];
  static_cast<float*>(tensors[weight].data)[place] = 1;
}

void PictureFiller::clear(std::span<const View> tensors, size_t place) {
  // An empty source reads as fill.
  static_cast<WarpSample*>(tensors[samples].data)[place] = WarpSample{};
  if (labels_.empty()) return;
  static_cast<int32_t*>(tensors[label].data)[place] = 0;
  static_cast<float*>(tensors[weight].data)[place] = 0;
}

}  // namespace

Loader::Loader(std::shared_ptr<const Pictures> pictures, std::vector<int32_t> labels,
               std::unique_ptr<Sampler> sampler, const Preprocess& preprocess,
               const LoaderOptions& options)
    : BatchThreads(std::make_unique<PictureFiller>(std::move(pictures), std::move(labels),
                                                   std::move(sampler), preprocess, options),
                   options.batch, options.threads, options.ready) {}

int64_t Loader::batch_bytes() const {
  const TensorSpec& images = tensors().front();
  return static_cast<int64_t>(view_of(nullptr, images.shape, images.type).bytes());
}

}  // namespace fulmar::data
