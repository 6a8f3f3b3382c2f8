
#include <eml_net.h>
static const float mynet_layer_0_biases[9] = { 0.974083f, -4.282044f, 3.215658f, -4.350520f, 1.271161f, -2.952434f, 2.466064f, -0.190631f, -2.240744f };
static const float mynet_layer_0_weights[36] = { 3.776109f, -7.865582f, 12.420852f, -7.148209f, -5.774765f, -5.646122f, 10.374398f, -3.285795f, -15.810962f, 0.572830f, 3.316654f, 11.132865f, -12.326940f, 9.900304f, -15.759115f, 7.401090f, 2.140180f, -3.638633f, 2.159902f, 6.538815f, -1.375317f, 13.545723f, -31.685965f, 21.811916f, 0.638692f, -11.805435f, -17.918217f, -0.049503f, 9.617163f, -1.710140f, 12.210144f, -13.594403f, 9.594012f, -0.624903f, -5.393162f, -5.597451f };
static const float mynet_layer_1_biases[5] = { -2.259475f, 11.812345f, -7.851048f, -2.521532f, -2.542749f };
static const float mynet_layer_1_weights[45] = { -4.813791f, -14.736741f, 15.076162f, 6.921312f, -0.440093f, 5.235031f, -2.942032f, 4.792318f, -4.458094f, -1.939717f, -3.607539f, -2.026444f, 3.909804f, 2.598224f, -1.856409f, 5.935988f, -9.867859f, 10.089211f, -5.406507f, -2.812220f, -6.074336f, 11.292707f, -2.880710f, -1.665747f, 4.791301f, 1.576340f, -28.402088f, 24.397381f, 4.093074f, -3.444309f, -0.359738f, 15.795168f, -14.511271f, -2.019556f, -2.677854f, -1.176706f, -7.811485f, 5.925759f, 3.449158f, -0.842257f, -3.104831f, 14.029860f, -9.029990f, -3.876155f, 1.182015f };
static const float mynet_layer_2_biases[3] = { 9.781768f, -6.332844f, -2.955911f };
static const float mynet_layer_2_weights[15] = { -15.401218f, 1.362257f, 13.333052f, 31.914076f, -18.682491f, -13.220201f, -22.873728f, 14.634842f, 8.703461f, 11.518073f, -0.315786f, -11.284835f, 8.564392f, -0.286225f, -8.031579f };
static float mynet_buf1[9];
static float mynet_buf2[9];
static const EmlNetLayer mynet_layers[3] = { 
{ 9, 4, mynet_layer_0_weights, mynet_layer_0_biases, EmlNetActivationLogistic }, 
{ 5, 9, mynet_layer_1_weights, mynet_layer_1_biases, EmlNetActivationLogistic }, 
{ 3, 5, mynet_layer_2_weights, mynet_layer_2_biases, EmlNetActivationSoftmax } };
static EmlNet mynet = { 3, mynet_layers, mynet_buf1, mynet_buf2, 9 };

    int32_t
    mynet_predict(const float *features, int32_t n_features)
    {
        return eml_net_predict(&mynet, features, n_features);
    }
    

    int32_t
    mynet_regress(const float *features, int32_t n_features, float *out, int32_t out_length)
    {
        return eml_net_regress(&mynet, features, n_features, out, out_length);
    }
    

    float
    mynet_regress1(const float *features, int32_t n_features)
    {
        return eml_net_regress1(&mynet, features, n_features);
    }
    