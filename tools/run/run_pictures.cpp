#include "tools/run/run_pictures.h"

#include <filesystem>
#include <string>
#include <vector>

#include "engine/io/file.h"
#include "kernels/error.h"

namespace fulmar::tools {
namespace {

std::string name_in(const std::string& dataset, const std::string& path) {
  return std::filesystem::path(path).lexically_relative(dataset).generic_string();
}

}  // namespace

std::optional<data::FileDigests> digests_of_run(const model::RunFolder& folder,
                                                const std::string& dataset) {
  if (!std::filesystem::exists(folder.pictures())) return std::nullopt;
  const std::string text = read_file(folder.pictures(), uint64_t{1} << 30);
  data::FileDigests by_path;
  for (const auto& [name, digest] : data::digests_from_text(text, folder.pictures()))
    by_path[dataset + "/" + name] = digest;
  return by_path;
}

void keep_digests(const model::RunFolder& folder, const std::string& dataset,
                  const data::FileDigests& digests) {
  data::FileDigests by_name;
  for (const auto& [path, digest] : digests) by_name[name_in(dataset, path)] = digest;
  write_file(folder.pictures(), data::to_text(by_name));
}

void require_same_pictures(const model::RunFolder& folder,
                           const std::optional<data::FileDigests>& before,
                           const data::FileDigests& now, Observer& observer) {
  if (!before) {
    observer.on_note(folder.pictures() +
                     " is missing, as in runs of older versions: only by their names are " +
                     "the pictures those that this run began with");
    return;
  }
  std::vector<std::string> others;
  for (const auto& [path, digest] : now) {
    const auto found = before->find(path);
    if (found == before->end() || !found->second.same_content(digest)) others.push_back(path);
  }
  for (const auto& [path, digest] : *before)
    if (!now.count(path)) others.push_back(path);
  if (others.empty()) return;
  const size_t more = others.size() - 1;
  file_error(others[0] + ": no longer what this run began with" +
             (more > 0 ? ", and " + std::to_string(more) + " more" : "") + " (" +
             folder.pictures() + "); restore the pictures, or train into another folder");
}

}  // namespace fulmar::tools
