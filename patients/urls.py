from django.urls import path

from patients.views import AccountViewSet, AddressViewSet, PatientViewSet

urlpatterns = [
    path("/register", AccountViewSet.as_view({"post": "register"}), name="patient-register"),
    path("/login", AccountViewSet.as_view({"post": "login"}), name="patient-login"),
    path("/token/refresh", AccountViewSet.as_view({"post": "refresh"}), name="patient-token-refresh"),
    path("/logout", AccountViewSet.as_view({"post": "logout"}), name="patient-logout"),
    path("/password", PatientViewSet.as_view({"put": "password"}), name="patient-password"),
    path("/stats", PatientViewSet.as_view({"get": "stats"}), name="patient-stats"),
    path("/addresses", AddressViewSet.as_view({"get": "list", "post": "create"}), name="patient-addresses"),
    path(
        "/addresses/<str:address_id>",
        AddressViewSet.as_view({"put": "update", "delete": "destroy"}),
        name="patient-address",
    ),
    path("/<str:patient_id>", PatientViewSet.as_view({"get": "retrieve", "put": "update"}), name="patient-detail"),
]
