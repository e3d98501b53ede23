#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/audit.h"

namespace fulmar::tools {

// Lists for people end after so many entries; --json has all.
constexpr size_t shown_groups = 10, shown_names = 3;

// The first names with `between` between them, and how many more there are: " = " joins equal ones.
std::string first_names(const std::vector<std::string>& names, const char* between = ", ");

// The groups of equal pictures without those of pictures that are constant but for noise.
std::vector<data::Audit::Paths> telling_groups(const std::vector<data::Audit::Paths>& groups,
                                               const data::Audit::Paths& constant);

// "1,989 pictures are constant but for noise, with values from 0 to 1 (no data?)"; "" without any.
std::string constant_heading(const data::Audit& audit);
// The number of constant pictures in each class of each part: "train/neg: 700".
std::vector<std::string> constant_counts(const data::Audit& audit);

// The files and folders of a dataset's folder that are not used, a sentence for each kind.
std::vector<std::string> left_out_notes(const data::LeftOut& left);

// A training's remarks about its pictures, once it has read them all, a sentence each.
std::vector<std::string> training_warnings(const data::Audit& audit);

}  // namespace fulmar::tools
