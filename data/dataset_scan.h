#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "kernels/error.h"

namespace fulmar::data {

// What scans of datasets of any layout share.

// All pictures under a folder, by name. Links to folders are followed, but not in circles.
// Error(file).
void collect_files(const std::filesystem::path& folder, int depth,
                   std::vector<std::string>& pictures, LeftOut& left);

// Leaves the first file of each sample, in the order of the samples' names. The others must be
// there; files of no sample are stray.
void keep_first_files(std::vector<std::string>& pictures, const BandFiles& bands,
                      std::vector<std::string>& stray, std::vector<std::string>& faults);

// The sea-ice scenes (NetCDF) under a folder, by name, without files of charts alone
// (*_reference.nc). Error(file).
std::vector<std::string> scene_files(const std::filesystem::path& folder);

// Error(file): not a folder; `layout` says what is expected.
void require_folder(const std::string& folder, const std::string& layout);

// Error(file) with the first of them and the number of the others.
void throw_first_fault(const std::vector<std::string>& faults);

// Does `work`, and keeps what it says about a file or folder that can't be used.
template <class Work>
void keep_fault(std::vector<std::string>& faults, const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::file) throw;
    faults.emplace_back(error.what());
  }
}

}  // namespace fulmar::data
