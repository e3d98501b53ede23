#include "model/observe.h"

#include <string>

#include "engine/feeder.h"
#include "kernels/error.h"

namespace fulmar::model {

std::vector<Val> watched_values(const Program& program) {
  std::vector<Val> values;
  for (const Recorded& head : program.heads)
    values.insert(values.end(), head.watched.begin(), head.watched.end());
  return values;
}

void set_inputs(Session& session, const Program& program, const Batch& batch) {
  if (batch.tensors.size() != program.inputs.size())
    usage_error("a batch has " + std::to_string(batch.tensors.size()) + " tensors, the program " +
                std::to_string(program.inputs.size()));
  const int64_t slots = program.tape->shape(program.inputs.at(0)).images();
  if (std::ssize(batch.samples) > slots)
    usage_error("a batch of " + std::to_string(slots) + " names " +
                std::to_string(batch.samples.size()) + " samples");
  for (size_t i = 0; i < program.inputs.size(); i++)
    set_input(session, program.inputs[i], batch.tensors[i]);
}

}  // namespace fulmar::model
