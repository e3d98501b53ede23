#include "tools/run/audit_text.h"

#include <algorithm>
#include <set>

#include "tools/run/text.h"

namespace fulmar::tools {

using data::Audit;

std::string first_names(const std::vector<std::string>& names, const char* between) {
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), shown_names); i++)
    text += (i == 0 ? "" : between) + names[i];
  if (names.size() > shown_names)
    text += " and " + with_separators(static_cast<int64_t>(names.size() - shown_names)) + " more";
  return text;
}

std::vector<Audit::Paths> telling_groups(const std::vector<Audit::Paths>& groups,
                                         const Audit::Paths& constant) {
  const std::set<std::string> flat(constant.begin(), constant.end());
  std::vector<Audit::Paths> telling;
  for (const Audit::Paths& group : groups)
    if (flat.count(group.front()) == 0) telling.push_back(group);
  return telling;
}

std::string constant_heading(const Audit& audit) {
  if (audit.constant.empty()) return "";
  std::string text =
      counted(std::ssize(audit.constant), "picture is", "pictures are") + " constant but for noise";
  if (audit.constant_low == audit.constant_high)
    text += ", of value " + number_text(audit.constant_low);
  else
    text += ", with values from " + number_text(audit.constant_low) + " to " +
            number_text(audit.constant_high);
  return text + " (no data?)";
}

std::vector<std::string> constant_counts(const Audit& audit) {
  std::vector<std::string> lines;
  for (const Audit::Part& part : audit.parts)
    for (const Audit::Class& c : part.classes)
      if (c.constant > 0)
        lines.push_back(part.folder + "/" + c.name + ": " + with_separators(c.constant) + " of " +
                        with_separators(c.pictures));
  return lines;
}

std::vector<std::string> training_warnings(const Audit& audit) {
  std::vector<std::string> warnings;
  if (const std::string heading = constant_heading(audit); !heading.empty())
    warnings.push_back(heading + ", in " + first_names(constant_counts(audit)) + ": such as " +
                       first_names(audit.constant) + "; better leave them out");
  const auto equal = [&](const std::vector<Audit::Paths>& all, const std::string& where) {
    const std::vector<Audit::Paths> groups = telling_groups(all, audit.constant);
    if (!groups.empty())
      warnings.push_back(counted(std::ssize(groups), "group", "groups") + " of equal pictures " +
                         where + ", such as " + first_names(groups.front(), " = "));
  };
  equal(audit.two_labels, "with two labels");
  equal(audit.in_both_parts, "in two parts");
  return warnings;
}

std::vector<std::string> left_out_notes(const data::LeftOut& left) {
  std::vector<std::string> notes;
  const auto add = [&](const std::vector<std::string>& paths, const std::string& one,
                       const std::string& many) {
    if (!paths.empty()) notes.push_back(counted(std::ssize(paths), one, many) + first_names(paths));
  };
  add(left.stray, "file is no picture of a class and is left out: ",
      "files are no pictures of a class and are left out: ");
  add(left.copies, "copy or leaving of an editor, a file manager or a download is left out: ",
      "copies or leavings of editors, file managers or downloads are left out: ");
  add(left.made,
      "run or cache of a training is left out: ", "runs or caches of trainings are left out: ");
  return notes;
}

}  // namespace fulmar::tools
