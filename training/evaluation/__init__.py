"""How good a network is, through the very path that serves, image by image; and what is made of the images' figures.

    operating_point   what the validation part chooses: temperature, threshold, minimum area
    measuring         one image, from the file to a `Case`
    cases             what is known of each measured image, and the folder it is kept in
    figures           every figure of a set of cases, with its definition and its interval
    subjects          what is measured: a run, on its own test part or elsewhere, or a version
    unseen            which images it may be measured on
    pooling           the cases of several runs together
    report            the page for people, and metrics.json
    comparison        two evaluations on the same images

Only measuring looks at pixels. All else reads cases, so it is quick and can be repeated.
"""
