#include "tools/run/picture_notes.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/picture/geometry.h"
#include "tools/run/text.h"

namespace fulmar::tools {
namespace {

constexpr size_t shown_kinds = 3;

std::string extents(int64_t width, int64_t height) {
  return std::to_string(width) + " x " + std::to_string(height);
}

std::string pictures(int64_t count) { return counted(count, "picture", "pictures"); }

}  // namespace

void PictureNotes::add(const std::string& path, const data::ImageHeader& header,
                       const Preprocess* preprocess) {
  for (const std::string& text : header.remarks) {
    Remark& remark = remarks_[text];
    if (remark.pictures++ == 0) remark.first = path;
  }
  if (!preprocess) return;
  const SeenArea seen = seen_area(*preprocess, header.height, header.width);
  const int64_t width = std::llround(seen.width()), height = std::llround(seen.height());
  if (width < header.width || height < header.height)
    cut_[{width, height, header.width, header.height}]++;
}

std::vector<std::string> PictureNotes::lines() const {
  std::vector<std::string> lines;
  // The most frequent kinds.
  std::vector<std::pair<Extents, int64_t>> kinds(cut_.begin(), cut_.end());
  std::stable_sort(kinds.begin(), kinds.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  int64_t others = 0;
  for (size_t i = 0; i < kinds.size(); i++) {
    const auto& [e, count] = kinds[i];
    if (i >= shown_kinds) {
      others += count;
      continue;
    }
    const double share = static_cast<double>(e[0]) * static_cast<double>(e[1]) /
                         (static_cast<double>(e[2]) * static_cast<double>(e[3]));
    lines.push_back("only the centre " + extents(e[0], e[1]) + " of " + extents(e[2], e[3]) +
                    " pixels is used, " + fixed(100 * share, share < 0.1 ? 2 : 0) + " % (" +
                    pictures(count) + ")");
  }
  if (others > 0)
    lines.push_back("only the centre is used of " + pictures(others) + " of other sizes too");
  size_t shown = 0;
  for (const auto& [text, remark] : remarks_) {
    if (shown++ == shown_kinds) {
      lines.push_back("and more of the kind: 'fulmar check' lists them");
      break;
    }
    lines.push_back(remark.first + ": " + text +
                    (remark.pictures > 1 ? " (" + pictures(remark.pictures) + ")" : ""));
  }
  return lines;
}

}  // namespace fulmar::tools
