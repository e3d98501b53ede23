#include "data/patch_loader.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>

#include "data/draws.h"
#include "engine/picture/geometry.h"
#include "kernels/error.h"

namespace fulmar::data {

namespace {

constexpr int64_t attempts = 16;  // at a patch with enough labels

// The side of what is read for a patch that is turned and zoomed: so many more pixels on every side
// that no corner of the patch lies outside, and as odd or even as the patch.
int64_t side_read(int64_t side, const std::optional<Augment>& augment) {
  if (!augment || (augment->rotate == 0 && augment->zoom == 0)) return side;
  const double turned = augment->rotate > 0 ? std::sqrt(2.0) : 1;
  const double reach = static_cast<double>(side) * turned * (1 + augment->zoom);
  const auto margin = static_cast<int64_t>(std::ceil((reach - static_cast<double>(side)) / 2)) + 1;
  return side + 2 * margin;
}

// Patches lie side by side; each shows more around its own part.
struct Tile {
  int64_t picture;
  Area shown, own;
};

// Of one axis: the parts of an extent, and where the patch that shows a part begins.
struct Step {
  int64_t begin, end, start;
};
std::vector<Step> steps_over(int64_t extent, int64_t side, int64_t halo) {
  std::vector<Step> steps;
  if (extent <= side) return {{0, extent, 0}};
  const int64_t core = side - 2 * halo;
  const int64_t count = (extent - 2 * halo + core - 1) / core;
  for (int64_t i = 0; i < count; i++) {
    const int64_t start = std::min(i * core, extent - side);
    const int64_t begin = steps.empty() ? 0 : steps.back().end;
    steps.push_back({begin, i == count - 1 ? extent : start + side - halo, start});
  }
  return steps;
}

std::vector<Tile> tiles_of(const Pictures& pictures, int64_t side, int64_t halo) {
  std::vector<Tile> tiles;
  for (int64_t i = 0; i < pictures.count(); i++) {
    const ImageHeader& header = pictures.header(i);
    for (const Step& row : steps_over(header.height, side, halo))
      for (const Step& column : steps_over(header.width, side, halo))
        tiles.push_back(
            {i,
             {row.start, column.start, side, side},
             {row.begin, column.begin, row.end - row.begin, column.end - column.begin}});
  }
  return tiles;
}

class PatchFiller : public BatchFiller {
 public:
  PatchFiller(std::shared_ptr<const Pictures> pictures, std::shared_ptr<const LabelStore> labels,
              const Preprocess& preprocess, const PatchOptions& options);

  const std::vector<TensorSpec>& tensors() const override { return specs_; }
  int64_t batches_per_epoch() const override {
    if (trains()) return options_.batches;
    return (std::ssize(tiles_) + options_.batch - 1) / options_.batch;
  }
  void start(bool calibrating) override { calibrating_ = calibrating; }
  std::vector<int64_t> choose(int64_t epoch, int64_t number) override;
  void fill(std::span<const View> tensors, size_t place, int64_t sample, int64_t epoch,
            int64_t number) override;
  void clear(std::span<const View> tensors, size_t place) override;
  int64_t parts_ahead() const override { return pictures_->count(); }
  void work_ahead(int64_t picture) override {
    pictures_->decode_ahead(picture);
    labels_->read(picture);
  }

 private:
  bool trains() const { return options_.batches > 0; }
  Tile draw_patch(Draw purpose, int64_t epoch, int64_t slot) const;
  void mix(std::span<const View> tensors, size_t place, const Tile& tile, const Area& there,
           int64_t epoch, int64_t slot) const;
  double labelled_share(const Tile& tile) const;
  WarpSample sample_of(const Area& read, const Area& there, int64_t epoch, int64_t slot) const;
  void fill_labels(const View& to, size_t layer, size_t place, const Tile& tile,
                   const Area& there) const;
  uint8_t* slot_of(const View& tensor, size_t place) const {
    return static_cast<uint8_t*>(tensor.data) +
           place * (tensor.bytes() / static_cast<size_t>(options_.batch));
  }

  std::shared_ptr<const Pictures> pictures_;
  std::shared_ptr<const LabelStore> labels_;
  Preprocess preprocess_;
  PatchOptions options_;
  int64_t side_, read_side_;
  std::vector<Tile> tiles_;  // to evaluate on
  std::vector<TensorSpec> specs_;
  bool calibrating_ = false;
};

PatchFiller::PatchFiller(std::shared_ptr<const Pictures> pictures,
                         std::shared_ptr<const LabelStore> labels, const Preprocess& preprocess,
                         const PatchOptions& options)
    : pictures_(std::move(pictures)),
      labels_(std::move(labels)),
      preprocess_(preprocess),
      options_(options),
      side_(preprocess.crop),
      read_side_(side_read(side_, options.augment)) {
  if (pictures_->bands() != preprocess_.bands)
    usage_error("the pictures have " + std::to_string(pictures_->bands()) +
                " bands, the preprocessing record says " + std::to_string(preprocess_.bands));
  if (labels_->count() != pictures_->count())
    usage_error("there are labels of " + std::to_string(labels_->count()) + " pictures for " +
                std::to_string(pictures_->count()));
  if (preprocess_.size != 0) usage_error("patches are cut out of pictures that keep their size");
  if (options_.halo < 0 || 2 * options_.halo >= side_)
    usage_error("a halo of " + std::to_string(options_.halo) + " leaves nothing of a patch of " +
                std::to_string(side_));
  const std::string kind = kind_misfit(preprocess_, pictures_->header(0));
  if (!kind.empty()) file_error(pictures_->path(0) + ": " + kind);
  if (options_.augment) options_.augment->check();
  if (options_.cutmix < 0 || options_.cutmix > 1)
    usage_error("a probability of CutMix of " + std::to_string(options_.cutmix) +
                ": it lies in 0 to 1");
  preprocess_.pad = true;  // a picture may be smaller than a patch
  if (!trains()) tiles_ = tiles_of(*pictures_, side_, options_.halo);
  const int64_t n = options_.batch, samples = static_cast<int64_t>(sizeof(WarpSample));
  const bool cuts = !options_.augment;
  specs_ = {{"image", pictures_->type(), {n, read_side_, read_side_, pictures_->bands()}},
            {"image/samples", DType::u8, {n, samples}, false, cuts}};
  for (size_t layer = 0; layer < labels_->layers(); layer++) {
    const std::string name = PatchLoader::label_tensor(labels_->layer(layer).name);
    specs_.push_back({name, DType::u8, {n, read_side_, read_side_, 1}});
    specs_.push_back({name + "/samples", DType::u8, {n, samples}});
  }
  specs_.push_back({"weight", DType::f32, {n, 1, 1, 1}});
}

std::vector<int64_t> PatchFiller::choose(int64_t, int64_t number) {
  std::vector<int64_t> samples;
  const int64_t begin = number * options_.batch, end = begin + options_.batch;
  for (int64_t i = begin; i < end && (trains() || i < std::ssize(tiles_)); i++)
    samples.push_back(i);
  return samples;
}

double PatchFiller::labelled_share(const Tile& tile) const {
  const ImageHeader& header = pictures_->header(tile.picture);
  const Area there = intersection(tile.shown, {0, 0, header.height, header.width});
  std::vector<uint8_t> part(static_cast<size_t>(there.height * there.width)), any(part.size());
  for (size_t layer = 0; layer < labels_->layers(); layer++) {
    labels_->copy(layer, tile.picture, there, part.data(), there.width);
    for (size_t i = 0; i < part.size(); i++) any[i] |= part[i] != unlabelled;
  }
  const auto count = std::count(any.begin(), any.end(), uint8_t{1});
  return static_cast<double>(count) / static_cast<double>(side_ * side_);
}

// A place in a scene that is drawn first, so that large scenes count as much as small ones.
Tile PatchFiller::draw_patch(Draw purpose, int64_t epoch, int64_t slot) const {
  Tile best{};
  double most = -1;
  for (int64_t attempt = 0; attempt < attempts; attempt++) {
    const RandomBits bits = draw(options_.seed, purpose, static_cast<uint64_t>(epoch),
                                 static_cast<uint64_t>(slot * attempts + attempt));
    Tile tile{below(bits.word[0], pictures_->count()), {}, {}};
    const ImageHeader& header = pictures_->header(tile.picture);
    const auto start = [&](uint32_t word, int64_t extent) {
      return extent > side_ ? below(word, extent - side_ + 1) : 0;
    };
    tile.shown = tile.own = {start(bits.word[1], header.height), start(bits.word[2], header.width),
                             side_, side_};
    if (options_.labelled <= 0) return tile;
    const double share = labelled_share(tile);
    if (share > most) {
      most = share;
      best = tile;
    }
    if (share >= options_.labelled) break;
  }
  return best;
}

// Of `read`, which may reach beyond the picture, `there` lies at the slot's top left corner.
WarpSample PatchFiller::sample_of(const Area& read, const Area& there, int64_t epoch,
                                  int64_t slot) const {
  AugmentDraw drawn;
  if (options_.augment) {
    Augment augment = *options_.augment;
    augment.translate = 0;
    drawn = draw_augment(augment, options_.seed, epoch, slot);
  }
  if (calibrating_) {
    const double gain = drawn.gain;
    drawn = {};
    drawn.gain = gain;
  }
  WarpSample sample = augmented_sample(preprocess_, read.height, read.width, drawn);
  const auto down = static_cast<double>(read.top - there.top),
             right = static_cast<double>(read.left - there.left);
  sample.map = compose({{1, 0, right, 0, 1, down}}, sample.map);
  sample.source_height = std::max<int64_t>(there.height, 0);
  sample.source_width = std::max<int64_t>(there.width, 0);
  return sample;
}

void PatchFiller::fill_labels(const View& to, size_t layer, size_t place, const Tile& tile,
                              const Area& there) const {
  uint8_t* labels = slot_of(to, place);
  labels_->copy(layer, tile.picture, there, labels, read_side_);
  if (trains()) return;
  // What other patches show as their own counts there.
  const Area own = intersection(tile.own, there);
  for (int64_t row = 0; row < there.height; row++) {
    uint8_t* line = labels + row * read_side_;
    const int64_t from = own.left - there.left, behind = from + own.width;
    const bool outside = row + there.top < own.top || row + there.top >= own.top + own.height;
    if (outside) std::memset(line, unlabelled, static_cast<size_t>(there.width));
    if (outside) continue;
    std::memset(line, unlabelled, static_cast<size_t>(from));
    std::memset(line + behind, unlabelled, static_cast<size_t>(there.width - behind));
  }
}

// A rectangle of another patch takes its place in this one, whose map then moves both alike.
void PatchFiller::mix(std::span<const View> tensors, size_t place, const Tile& tile,
                      const Area& there, int64_t epoch, int64_t slot) const {
  const RandomBits bits =
      draw(options_.seed, Draw::cutmix, static_cast<uint64_t>(epoch), static_cast<uint64_t>(slot));
  const auto uniform = [&](size_t word) { return static_cast<double>(bits.word[word]) / 0x1p32; };
  if (uniform(0) >= options_.cutmix) return;
  const Tile other = draw_patch(Draw::cutmix_patch, epoch, slot);
  const ImageHeader& header = pictures_->header(other.picture);
  const auto side =
      static_cast<int64_t>(std::lround(std::sqrt(uniform(1)) * static_cast<double>(side_)));
  const auto start = [&](size_t word) { return below(bits.word[word], side_) - side / 2; };
  // Within the patch; what both pictures have there.
  const auto within = [&](const Area& area, const Tile& of) {
    return Area{area.top - of.shown.top, area.left - of.shown.left, area.height, area.width};
  };
  Area part = intersection({start(2), start(3), side, side}, {0, 0, side_, side_});
  part = intersection(part, within(there, tile));
  part = intersection(part, within({0, 0, header.height, header.width}, other));
  if (part.height <= 0 || part.width <= 0) return;
  const Area from{part.top + other.shown.top, part.left + other.shown.left, part.height,
                  part.width};
  const int64_t row = part.top + tile.shown.top - there.top;
  const int64_t column = part.left + tile.shown.left - there.left;
  const View& image = tensors[0];
  const int64_t pixel =
      static_cast<int64_t>(image.bytes()) / options_.batch / read_side_ / read_side_;
  pictures_->copy_part(other.picture, from,
                       slot_of(image, place) + (row * read_side_ + column) * pixel,
                       read_side_ * pixel);
  for (size_t layer = 0; layer < labels_->layers(); layer++)
    labels_->copy(layer, other.picture, from,
                  slot_of(tensors[2 + 2 * layer], place) + row * read_side_ + column, read_side_);
}

void PatchFiller::fill(std::span<const View> tensors, size_t place, int64_t sample, int64_t epoch,
                       int64_t) {
  const Tile tile =
      trains() ? draw_patch(Draw::patch, epoch, sample) : tiles_[static_cast<size_t>(sample)];
  const ImageHeader& header = pictures_->header(tile.picture);
  const int64_t margin = (read_side_ - side_) / 2;
  const Area read{tile.shown.top - margin, tile.shown.left - margin, read_side_, read_side_};
  const Area there = intersection(read, {0, 0, header.height, header.width});
  const View& image = tensors[0];
  pictures_->copy_part(tile.picture, there, slot_of(image, place),
                       static_cast<int64_t>(image.bytes()) / options_.batch / read_side_);
  const WarpSample how = sample_of(read, there, epoch, sample);
  static_cast<WarpSample*>(tensors[1].data)[place] = how;
  for (size_t layer = 0; layer < labels_->layers(); layer++) {
    fill_labels(tensors[2 + 2 * layer], layer, place, tile, there);
    static_cast<WarpSample*>(tensors[3 + 2 * layer].data)[place] = how;
  }
  static_cast<float*>(tensors.back().data)[place] = 1;
  if (trains() && !calibrating_) mix(tensors, place, tile, there, epoch, sample);
}

void PatchFiller::clear(std::span<const View> tensors, size_t place) {
  // An empty source reads as fill, or without a label.
  for (size_t i = 1; i + 1 < tensors.size(); i += 2)
    static_cast<WarpSample*>(tensors[i].data)[place] = WarpSample{};
  static_cast<float*>(tensors.back().data)[place] = 0;
}

}  // namespace

PatchLoader::PatchLoader(std::shared_ptr<const Pictures> pictures,
                         std::shared_ptr<const LabelStore> labels, const Preprocess& preprocess,
                         const PatchOptions& options)
    : BatchThreads(std::make_unique<PatchFiller>(std::move(pictures), std::move(labels), preprocess,
                                                 options),
                   options.batch, options.threads, options.ready) {}

int64_t PatchLoader::batch_bytes(const Preprocess& preprocess, const PatchOptions& options,
                                 size_t layers) {
  const int64_t side = side_read(preprocess.crop, options.augment);
  return options.batch * side * side *
         (preprocess.bands * static_cast<int64_t>(size_of(preprocess.type)) +
          static_cast<int64_t>(layers));
}

}  // namespace fulmar::data
