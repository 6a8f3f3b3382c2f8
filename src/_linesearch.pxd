"""The line search of Moré and Thuente (ACM Transactions on Mathematical Software 20, 1994), with the constants of
SciPy's L-BFGS-B: it finds a step that lowers f enough and makes the slope small enough."""

from libc.math cimport fabs, isfinite, sqrt

cdef extern from *:
    """
    #define FASTBP_DECREASE 1e-3    // f(step) <= f(0) + DECREASE * step * slope(0)
    #define FASTBP_SLOPE .9         // |slope(step)| <= SLOPE * |slope(0)|
    #define FASTBP_NARROW .1        // relative width of an interval in which the search ends
    #define FASTBP_LONGEST 1e10     // step
    """
    const double DECREASE "FASTBP_DECREASE"
    const double SLOPE "FASTBP_SLOPE"
    const double NARROW "FASTBP_NARROW"
    const double LONGEST "FASTBP_LONGEST"

cdef struct point_t:        # a point of the line: step, f and its derivative there
    double step
    double f
    double slope

cdef struct line_t:
    double f0
    double slope0
    point_t best            # lowest f so far
    point_t other           # the other end of the interval that holds a minimum, once `bracketed`
    double low              # bounds of the next step
    double high
    double longest          # step
    double width            # of the interval, now
    double width_before     # and before the last two steps
    bint bracketed
    bint first_stage        # no step so far has lowered f enough with a positive slope


cdef inline void begin_line(line_t *line, double f, double slope, double step) noexcept nogil:
    """Start at f and slope < 0; `step` is tried first."""
    line.f0, line.slope0 = f, slope
    line.best.step, line.best.f, line.best.slope = 0, f, slope
    line.other = line.best
    line.low, line.high, line.longest = 0, 5 * step, LONGEST
    line.width, line.width_before = LONGEST, 2 * LONGEST
    line.bracketed, line.first_stage = False, True


cdef inline double cubic(const point_t *a, const point_t *b, bint clip, double *gamma) noexcept nogil:
    """theta and gamma of the cubic through both points  ->  theta.  Moré and Thuente, section 4."""
    cdef double theta = 3 * (a.f - b.f) / (b.step - a.step) + a.slope + b.slope
    cdef double s = max(fabs(theta), max(fabs(a.slope), fabs(b.slope)))
    cdef double root = (theta / s) * (theta / s) - (a.slope / s) * (b.slope / s)
    if clip:
        root = max(0.0, root)
    gamma[0] = s * sqrt(root)
    return theta


cdef inline double next_step(
    point_t *best, point_t *other, const point_t *at, bint *bracketed, double low, double high
) noexcept nogil:
    """The next step; best and other become the ends of the interval that holds a minimum."""
    cdef double theta, gamma, r, by_cubic, by_square, step, sign = at.slope * (best.slope / fabs(best.slope))
    if at.f > best.f:           # a higher f: the minimum is between
        theta = cubic(best, at, False, &gamma)
        if at.step < best.step:
            gamma = -gamma
        r = ((gamma - best.slope) + theta) / (((gamma - best.slope) + gamma) + at.slope)
        by_cubic = best.step + r * (at.step - best.step)
        by_square = best.step + best.slope / ((best.f - at.f) / (at.step - best.step) + best.slope) / 2 * (
            at.step - best.step)
        if fabs(by_cubic - best.step) < fabs(by_square - best.step):
            step = by_cubic
        else:
            step = by_cubic + (by_square - by_cubic) / 2
        bracketed[0] = True
    elif sign < 0:              # a lower f, slopes of opposite sign: the minimum is between
        theta = cubic(best, at, False, &gamma)
        if at.step > best.step:
            gamma = -gamma
        r = ((gamma - at.slope) + theta) / (((gamma - at.slope) + gamma) + best.slope)
        by_cubic = at.step + r * (best.step - at.step)
        by_square = at.step + at.slope / (at.slope - best.slope) * (best.step - at.step)
        step = by_cubic if fabs(by_cubic - at.step) > fabs(by_square - at.step) else by_square
        bracketed[0] = True
    elif fabs(at.slope) < fabs(best.slope):     # a lower f, the slope becomes flatter
        theta = cubic(best, at, True, &gamma)
        if at.step > best.step:
            gamma = -gamma
        r = ((gamma - at.slope) + theta) / ((gamma + (best.slope - at.slope)) + gamma)
        if r < 0 and gamma != 0:
            by_cubic = at.step + r * (best.step - at.step)
        else:
            by_cubic = high if at.step > best.step else low
        by_square = at.step + at.slope / (at.slope - best.slope) * (best.step - at.step)
        if bracketed[0]:
            step = by_cubic if fabs(by_cubic - at.step) < fabs(by_square - at.step) else by_square
            if at.step > best.step:
                step = min(at.step + .66 * (other.step - at.step), step)
            else:
                step = max(at.step + .66 * (other.step - at.step), step)
        else:
            step = by_cubic if fabs(by_cubic - at.step) > fabs(by_square - at.step) else by_square
            step = max(low, min(high, step))
    elif bracketed[0]:          # a lower f, the slope becomes no flatter
        theta = cubic(other, at, False, &gamma)
        if at.step > other.step:
            gamma = -gamma
        r = ((gamma - at.slope) + theta) / (((gamma - at.slope) + gamma) + other.slope)
        step = at.step + r * (other.step - at.step)
    else:
        step = high if at.step > best.step else low
    if at.f > best.f:
        other[0] = at[0]
    else:
        if sign < 0:
            other[0] = best[0]
        best[0] = at[0]
    return step


cdef inline bint goes_on(line_t *line, double f, double slope, double *step) noexcept nogil:
    """Take f and the slope at `step`  ->  True if the search continues: then step := the next one. Otherwise both
    conditions hold at `step`, or can no longer be met."""
    cdef double wanted = DECREASE * line.slope0, enough = line.f0 + step[0] * wanted
    cdef point_t at
    if not isfinite(f) or not isfinite(slope):      # too far. SciPy has no rule for it.
        if step[0] > line.best.step:
            line.longest = (line.best.step + step[0]) / 2
        step[0] = (line.best.step + step[0]) / 2
        return True
    if line.first_stage and f <= enough and slope >= 0:
        line.first_stage = False
    if (f <= enough and fabs(slope) <= SLOPE * -line.slope0) or is_narrow(line, step[0]) or (
        step[0] == line.longest and f <= enough and slope <= wanted
    ) or (step[0] == 0 and (f > enough or slope >= wanted)):
        return False
    at.step, at.f, at.slope = step[0], f, slope
    if line.first_stage and f <= line.best.f and f > enough:    # the search uses f - step * wanted
        lower(&at, wanted, -1)
        lower(&line.best, wanted, -1)
        lower(&line.other, wanted, -1)
        step[0] = next_step(&line.best, &line.other, &at, &line.bracketed, line.low, line.high)
        lower(&line.best, wanted, 1)
        lower(&line.other, wanted, 1)
    else:
        step[0] = next_step(&line.best, &line.other, &at, &line.bracketed, line.low, line.high)
    if line.bracketed:
        if fabs(line.other.step - line.best.step) >= .66 * line.width_before:
            step[0] = line.best.step + .5 * (line.other.step - line.best.step)
        line.width_before, line.width = line.width, fabs(line.other.step - line.best.step)
        line.low = min(line.best.step, line.other.step)
        line.high = max(line.best.step, line.other.step)
    else:
        line.low = step[0] + 1.1 * (step[0] - line.best.step)
        line.high = step[0] + 4 * (step[0] - line.best.step)
    step[0] = min(max(step[0], 0.0), line.longest)
    if is_narrow(line, step[0]):
        step[0] = line.best.step
    return True


cdef inline bint is_narrow(const line_t *line, double step) noexcept nogil:
    """True if rounding errors leave nothing to find in the interval."""
    return line.bracketed and (
        step <= line.low or step >= line.high or line.high - line.low <= NARROW * line.high)


cdef inline void lower(point_t *at, double wanted, double sign) noexcept nogil:
    """f := f + sign * step * wanted, with its derivative"""
    at.f += sign * at.step * wanted
    at.slope += sign * wanted
