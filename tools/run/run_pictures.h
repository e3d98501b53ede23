#pragma once

#include <optional>
#include <string>

#include "data/file_digests.h"
#include "model/run_folder.h"
#include "tools/run/observer.h"

namespace fulmar::tools {

// pictures.txt of a run folder: digests of the run's pictures when it began, by their names within
// the dataset's folder. These functions take and give them by path.

// Nothing where there is no list, as in runs of older versions. Error(file) for a damaged one.
std::optional<data::FileDigests> digests_of_run(const model::RunFolder& folder,
                                                const std::string& dataset);
void keep_digests(const model::RunFolder& folder, const std::string& dataset,
                  const data::FileDigests& digests);
// Error(file) naming a picture that is not what the run began with. A note where nothing
// tells.
void require_same_pictures(const model::RunFolder& folder,
                           const std::optional<data::FileDigests>& before,
                           const data::FileDigests& now, Observer& observer);

}  // namespace fulmar::tools
