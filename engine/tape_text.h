#pragma once

#include <string>
#include <vector>

#include "engine/tape.h"

namespace fulmar {

// A recorded tape for people to read. `nodes`: the numbers of those to show, ascending; see
// nodes_of(Plan) for those that run.

// A line for each node under the layer that recorded it (or whose gradient it belongs to):
//   block 1 / conv2d_1
//     %7 = conv2d(%3, %5, %6) [16,512,512,8]  padding=0,1,0,1 stride=2,2
// A role or element type stands behind the shape where it is not that of activations. "-" is an
// operand left out, "%9.1" the second output of node 9.
FULMAR_API std::string tape_as_text(const Tape& tape, const std::vector<int>& nodes);

// The same as a graph: input for Graphviz' dot, and for Mermaid (flowchart). Layers are boxes
// around their nodes.
FULMAR_API std::string tape_as_graphviz(const Tape& tape, const std::vector<int>& nodes);
FULMAR_API std::string tape_as_mermaid(const Tape& tape, const std::vector<int>& nodes);

}  // namespace fulmar
