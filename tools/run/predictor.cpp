#include "tools/run/predictor.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <new>
#include <set>
#include <tuple>

#include "data/dataset.h"
#include "data/geotiff.h"
#include "data/pictures.h"
#include "kernels/error.h"
#include "tools/run/memory.h"
#include "tools/run/observer.h"
#include "tools/run/results.h"
#include "tools/run/text.h"

namespace fulmar::tools {
namespace {

// Pictures that are decoded together: that many batches, and bytes.
constexpr int64_t batches_in_window = 4, window_bytes = int64_t{512} << 20;

// Calls `work`, and keeps what it says about a file that can't be used.
template <class Work>
void keep_error(PredictedPicture& picture, const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::cancelled || error.kind() == ErrorKind::device) throw;
    picture.error = error.what();
  } catch (const std::bad_alloc&) {
    picture.error = picture.path + ": there is not enough memory for this picture";
  }
}

std::vector<PredictedPicture> find_pictures(const std::vector<std::string>& paths,
                                            const data::BandFiles& bands) {
  std::vector<PredictedPicture> pictures;
  std::set<std::string> seen;  // a sample of several files may be named by each
  for (const std::string& path : paths) {
    PredictedPicture whole;
    whole.path = path;
    keep_error(whole, [&] {
      for (const std::string& file : data::list_pictures(std::span(&path, 1), bands)) {
        if (!bands.empty() && !seen.insert(file).second) continue;
        pictures.emplace_back();
        pictures.back().path = file;
      }
    });
    if (!whole.error.empty()) pictures.push_back(std::move(whole));
  }
  return pictures;
}

// Why the model can't take a picture of this kind; empty where it can.
std::string refusal(const Preprocess& preprocess, const data::ImageHeader& header) {
  const std::string kind = data::kind_misfit(preprocess, header);
  return kind.empty() ? misfit(preprocess, header.height, header.width) : kind;
}

}  // namespace

// What the network reads of a picture, by `sample`.
struct Predictor::Decoded {
  data::Image image;
  WarpSample sample;
};

Predictor::Predictor(Context& context, Device& device, const PredictorOptions& options)
    : context_(&context),
      classifier_(context, options.model, device),
      bands_(band_files_of(options.bands, classifier_.preprocess())),
      pictures_(find_pictures(options.paths, bands_)),
      limits_(image_limits(options.max_pixels)),
      batch_(options.batch > 0 ? options.batch : customary_batch(classifier_.preprocess())) {}

Predictor::~Predictor() = default;

std::span<const PredictedPicture> Predictor::next() {
  const size_t from = done_, to = probe_window();
  decode(to);
  predict(to);
  decoded_.clear();
  done_ = to;
  return std::span(pictures_).subspan(from, to - from);
}

// Looks at the headers of the next pictures; gives the end of those that are handled together.
size_t Predictor::probe_window() {
  const auto longest = static_cast<size_t>(batches_in_window * batch_);
  int64_t bytes = 0;
  size_t to = done_;
  while (to < pictures_.size() && to - done_ < longest && (to == done_ || bytes < window_bytes)) {
    PredictedPicture& picture = pictures_[to++];
    if (!picture.error.empty()) continue;
    keep_error(picture, [&] {
      picture.header = data::probe_sample(picture.path, bands_, limits_);
      const std::string reason = refusal(preprocess(), picture.header);
      if (!reason.empty()) file_error(picture.path + ": " + reason);
      picture.seen = seen_area(preprocess(), picture.header.height, picture.header.width);
      bytes += require_room(picture);
    });
  }
  return to;
}

// Bytes of what is decoded of a picture. Error(file) where that and the network's own copy of it
// are more than there is room for.
int64_t Predictor::require_room(const PredictedPicture& picture) {
  data::ImageHeader decoded = picture.header;
  const CentrePart& part = part_of(picture.header);
  decoded.height = std::ssize(part.rows);
  decoded.width = std::ssize(part.columns);
  decoded.bands = std::max(decoded.bands, preprocess().bands);
  const auto bytes = static_cast<uint64_t>(decoded.bytes());
  const uint64_t left = memory_left();
  if (2 * bytes > left)
    file_error(picture.path + ": it takes " + readable_bytes(2 * bytes) + " of memory, and " +
               readable_bytes(left) +
               " are free; cut the picture into parts, or use a machine with more memory");
  return decoded.bytes();
}

// What the network reads of a picture; the latest extents' is kept.
const CentrePart& Predictor::part_of(const data::ImageHeader& header) {
  if (!part_ || header.height != part_height_ || header.width != part_width_)
    part_ = centre_part(preprocess(), header.height, header.width);
  part_height_ = header.height;
  part_width_ = header.width;
  return *part_;
}

void Predictor::decode(size_t to) {
  decoded_.resize(to - done_);
  context_->pool().run(std::ssize(decoded_), [&](int64_t task, int) {
    const auto at = static_cast<size_t>(task);
    PredictedPicture& picture = pictures_[done_ + at];
    if (!picture.error.empty() || context_->cancel) return;
    keep_error(picture, [&] {
      picture.place = data::read_georeference(picture.path);
      const CentrePart part =
          centre_part(preprocess(), picture.header.height, picture.header.width);
      decoded_[at].image = data::with_channels(
          data::read_sample(picture.path, bands_, limits_, {part.rows, part.columns}),
          preprocess().bands);
      decoded_[at].sample = part.sample;
    });
  });
  stop_if_cancelled(*context_);
}

// Pictures of one size and type go through the network together.
void Predictor::predict(size_t to) {
  std::map<std::tuple<int64_t, int64_t, DType>, std::vector<size_t>> groups;
  for (size_t i = 0; i < to - done_; i++) {
    const data::Image& image = decoded_[i].image;
    dropped_alpha_ |= image.dropped_alpha;
    if (pictures_[done_ + i].error.empty())
      groups[{image.height, image.width, image.type}].push_back(i);
  }
  const auto longest = static_cast<size_t>(batch_);
  for (const auto& [key, members] : groups)
    for (size_t at = 0; at < members.size(); at += longest)
      predict_batch(std::span(members).subspan(at, std::min(longest, members.size() - at)));
}

void Predictor::predict_batch(std::span<const size_t> members) {
  data::Image& first = decoded_[members[0]].image;
  const size_t bytes = first.data.size();
  std::vector<uint8_t> together;
  std::vector<WarpSample> samples;
  for (const size_t i : members) {
    samples.push_back(decoded_[i].sample);
    if (members.size() == 1) break;
    const std::vector<uint8_t>& data = decoded_[i].image.data;
    together.resize(members.size() * bytes);
    std::memcpy(together.data() + (samples.size() - 1) * bytes, data.data(), bytes);
  }
  void* const pixels = members.size() == 1 ? first.data.data() : together.data();
  const Shape shape{std::ssize(members), first.height, first.width, first.bands};
  const model::Outputs outputs = classifier_.predict(view_of(pixels, shape, first.type), samples);
  const auto classes = std::ssize(classifier_.task().classes);
  for (size_t n = 0; n < members.size(); n++) {
    const auto row = static_cast<std::ptrdiff_t>(n) * classes;
    const auto of_picture = [&](const auto& all) {
      return std::vector(all.begin() + row, all.begin() + row + classes);
    };
    PredictedPicture& picture = pictures_[done_ + members[n]];
    picture.logits = of_picture(outputs.logits);
    picture.probabilities = of_picture(outputs.probabilities);
    if (!std::all_of(picture.logits.begin(), picture.logits.end(),
                     [](double logit) { return std::isfinite(logit); }))
      picture.error = picture.path + ": the model gives NaN or infinite values for this picture";
  }
}

}  // namespace fulmar::tools
