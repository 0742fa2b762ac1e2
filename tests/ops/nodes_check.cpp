// Prints the pieces of a line of two matrices, of 40 and 9 rows, in the order in which a thread of a node is handed them.
//     nodes_check FOLDER NODE        FOLDER: as nodes::find takes it

#include <cstdio>
#include <cstdlib>

#include "nodes.h"
#include "pool.h"

int main(int, char** arguments) {
    nodes::find(arguments[1]);
    nodes::keep_to(std::atoi(arguments[2]));
    pool::Pieces pieces(49, 6, 1, [](int64_t i) { return i < 40 ? nodes::owner(i, 40) : nodes::owner(i - 40, 9); });
    for (int64_t begin, end; pieces.next(begin, end);) std::printf("%lld %lld\n", static_cast<long long>(begin), static_cast<long long>(end));
}
