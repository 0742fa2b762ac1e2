#pragma once

#include <string>

// Processors that this process may run on.
int processors();

// Cores that it may use: of processors that share one (SMT) one counts, since the units that read and multiply are there
// once; and no more than the quota of its control group leaves. topology, group: where Linux tells these (sysfs, cgroup
// v2); without them as many as there are processors.
int cores(const std::string& topology, const std::string& group);
int cores();
