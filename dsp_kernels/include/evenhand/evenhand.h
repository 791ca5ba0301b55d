// All kernels.
#pragma once

#include "align.h"
#include "automix.h"
#include "convert.h"
#include "delay.h"
#include "drift.h"
#include "ducker.h"
#include "dynamics.h"
#include "eq.h"
#include "features.h"
#include "gain.h"
#include "limiter.h"
#include "loudness.h"
#include "meters.h"
#include "resampler.h"
#include "reverb.h"
