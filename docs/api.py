"""What is public, in the order of the API reference."""

PUBLIC = {
    "Networks and training": (
        "fastbp", ["Network", "train", "Trainer", "minimize", "History", "Evaluation", "check_gradient",
                   "GradientCheck", "DivergenceError"]),
    "Optimizers": (
        "fastbp", ["SGD", "Adam", "AdamW", "RMSprop", "LBFGS", "optimizers.Nadam", "optimizers.Adagrad",
                   "optimizers.RPROP", "optimizers.Optimizer"]),
    "Learning-rate schedules": (
        "fastbp.schedules", ["Constant", "Step", "Exponential", "InverseScaling", "Cosine", "OneCycle", "Schedule"]),
    "Callbacks": ("fastbp.callbacks", ["EarlyStopping", "ReduceOnPlateau", "Logging", "Callback"]),
    "Metrics": ("fastbp.metrics", ["accuracy", "balanced_accuracy", "cross_entropy", "mse", "rmse", "mae", "r2"]),
    "Inputs, data": ("fastbp", ["Standardise", "datasets.load_digits", "datasets.Digits"]),
    "Second order and error bars": (
        "fastbp", ["Laplace", "curvature.hessian", "curvature.gauss_newton", "curvature.Curvature"]),
    "Many networks": ("fastbp", ["train_many", "Ensemble", "many.table", "many.Prediction"]),
    "Tables": ("fastbp.tabular", ["TabularClassifier", "TabularRegressor", "TabularPreparation"]),
    "Estimators of scikit-learn": ("fastbp.sklearn", ["MLPClassifier", "MLPRegressor"]),
    "Files": ("fastbp", ["save", "load", "FormatError", "container.read", "container.write"]),
    "Several processes": ("fastbp.distributed", ["rows", "Group", "RankError"]),
    "Pictures": ("fastbp.plot", ["learning_curve", "decision_boundary", "first_layer_images", "confusion_matrix"]),
    "This machine": ("fastbp", ["show_config", "selftest"]),
}
NAMES = [f"{module}.{name}" for module, names in PUBLIC.values() for name in names]
